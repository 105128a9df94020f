//! Whether a host has what an entry requires.
//!
//! Namespaces are ANDed; within `cpu`, `nvcap` and `gfx` any value suffices,
//! elsewhere each is needed.

use super::{
    host_type::Unmet,
    requirements::{Requirement, Requirements},
    verdict::Misfit,
};
use crate::{
    GpuMatch, Host,
    feature::{self, Meaning},
    gfx,
    platform::{self, Level},
    version::Version,
};

/// A host as it looks to entries of one architecture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) host: &'a Host,
    /// In Go's words. Empty: not known.
    pub(crate) architecture: &'a str,
}

impl View<'_> {
    /// The first requirement, in ranking order, that the host does not meet.
    pub(crate) fn misfit(&self, requirements: &Requirements<'_>) -> Option<Misfit> {
        let (before, after): (Vec<_>, Vec<_>) = requirements
            .groups()
            .partition(|group| feature::order(&group[0].namespace) <= feature::order(feature::CPU));
        let failed = |groups: Vec<&[Requirement<'_>]>| {
            groups
                .into_iter()
                .find(|group| !self.meets(group))
                .map(|group| self.group_misfit(group))
        };
        let found = failed(before)
            .or_else(|| self.level_misfit(requirements))
            .or_else(|| failed(after));
        found.map(|misfit| Misfit {
            requires: requirements.texts(),
            ..misfit
        })
    }

    /// The unmet requirements of one namespace, with the host's values there.
    pub(super) fn group_unmet(&self, group: &[Requirement<'_>]) -> Option<Unmet> {
        let namespace = &group[0].namespace;
        let needs = group.iter().map(|it| it.value.as_str());
        (!self.meets(group)).then(|| Unmet {
            namespace: namespace.to_string(),
            needs: needs.collect::<Vec<_>>().join(" or "),
            has: self
                .host
                .values(namespace)
                .collect::<Vec<_>>()
                .join(" and "),
        })
    }

    /// Whether the host meets the requirements of one namespace.
    fn meets(&self, group: &[Requirement<'_>]) -> bool {
        let fits = |requirement: &Requirement<'_>| self.fits(requirement);
        match feature::meaning(&group[0].namespace) {
            Meaning::Cpu => group.iter().any(fits),
            Meaning::Nvcap => self.all_gpus(
                self.host
                    .gpus()
                    .iter()
                    .map(|gpu| group.iter().any(|requirement| gpu.runs(&requirement.value))),
            ),
            Meaning::Gfx => self.all_gpus(self.host.values(feature::GFX).map(|own| {
                let gpu = gfx::Target::parse(own);
                let runs = |value: &str| gpu.runs(gfx::Target::parse(value)).is_some();
                group.iter().any(|requirement| runs(&requirement.value))
            })),
            Meaning::Isa | Meaning::Floor | Meaning::Opaque => group.iter().all(fits),
        }
    }

    /// Whether the host, or one of its GPUs, meets one requirement.
    pub(crate) fn fits(&self, requirement: &Requirement<'_>) -> bool {
        let (host, value) = (self.host, requirement.value.as_str());
        match feature::meaning(&requirement.namespace) {
            Meaning::Cpu => self.runs(value),
            Meaning::Isa => host
                .processors()
                .has_flag(host.cpus(), self.architecture, value),
            Meaning::Nvcap => host.gpus().iter().any(|gpu| gpu.runs(value)),
            Meaning::Gfx => {
                let build = gfx::Target::parse(value);
                let runs = |own: &str| gfx::Target::parse(own).runs(build).is_some();
                host.values(feature::GFX).any(runs)
            }
            Meaning::Floor => {
                let mut own = host.values(&requirement.namespace);
                match Version::parse(value) {
                    Some(floor) => {
                        own.any(|own| Version::parse(own).is_some_and(|own| floor <= own))
                    }
                    None => own.any(|own| own == value),
                }
            }
            Meaning::Opaque if requirement.namespace == feature::VARIANT => {
                let has = || host.values(feature::VARIANT).any(|own| own == value);
                match platform::level(self.architecture, value) {
                    Level::Cpu(cpu) => self.runs(&cpu),
                    _ => has(),
                }
            }
            Meaning::Opaque => host.values(&requirement.namespace).any(|own| own == value),
        }
    }

    /// Whether the host runs what is built for `cpu`.
    pub(crate) fn runs(&self, cpu: &str) -> bool {
        let host = self.host;
        host.processors()
            .runs(host.cpus(), self.architecture, cpu)
            .is_some()
    }

    /// Whether GPUs, each of which runs the entry or not, suffice. A host
    /// without a GPU does not.
    fn all_gpus(&self, mut runs: impl Iterator<Item = bool>) -> bool {
        match self.host.machine_type().gpu {
            GpuMatch::Any => runs.any(|one| one),
            GpuMatch::All => runs
                .next()
                .is_some_and(|first| first && runs.all(|one| one)),
        }
    }

    fn level_misfit(&self, requirements: &Requirements<'_>) -> Option<Misfit> {
        let level = requirements.level.as_deref()?;
        (!self.runs(level)).then(|| Misfit {
            namespace: feature::CPU.into(),
            needs: feature::spell(feature::CPU, level),
            has: self.has(feature::CPU),
            requires: Vec::new(),
        })
    }

    fn group_misfit(&self, group: &[Requirement<'_>]) -> Misfit {
        let namespace = &group[0].namespace;
        let spell = |requirement: &Requirement<'_>| feature::spell(namespace, &requirement.value);
        let alternatives = matches!(
            feature::meaning(namespace),
            Meaning::Cpu | Meaning::Nvcap | Meaning::Gfx
        );
        let needs = match alternatives {
            true => group.iter().map(spell).collect::<Vec<_>>().join(" or "),
            false => group
                .iter()
                .find(|one| !self.fits(one))
                .map(spell)
                .unwrap_or_default(),
        };
        Misfit {
            namespace: namespace.to_string(),
            needs,
            has: self.has(namespace),
            requires: Vec::new(),
        }
    }

    /// What the host has in `namespace`, in words.
    fn has(&self, namespace: &str) -> String {
        let namespace = match namespace {
            feature::ISA if self.host.values(feature::ISA).next().is_none() => feature::CPU,
            other => other,
        };
        let spell = |value| feature::spell(namespace, value);
        let own: Vec<_> = self.host.values(namespace).map(spell).collect();
        match own.is_empty() {
            true => format!("no {namespace}"),
            false => own.join(" and "),
        }
    }
}
