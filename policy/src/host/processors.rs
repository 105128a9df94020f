//! The CPUs of a host: what they run and which flags they have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    CpuTable, MachineType,
    cpu::{CpuId, CpuRank, flags_imply},
    feature, platform,
    platform::Level,
};

/// What a host says of its CPUs.
#[derive(Clone, Debug)]
pub(crate) struct Processors {
    named: Vec<CpuId>,
    /// The families of `named`.
    families: Vec<String>,
    /// Names outside the table, folded.
    unknown: BTreeSet<String>,
    also_runs: BTreeSet<String>,
    flags: BTreeSet<String>,
    /// The architecture that the type states, in Go's words.
    stated: Option<String>,
}

impl Processors {
    /// Reads canonical features and the other fields of `kind`.
    pub(crate) fn new(
        features: &BTreeMap<String, BTreeSet<String>>,
        kind: &MachineType,
        cpus: &CpuTable,
    ) -> Self {
        let values = |namespace: &str| features.get(namespace).into_iter().flatten();
        let mut names: BTreeSet<String> = values(feature::CPU).cloned().collect();
        names.extend(level_of(kind));
        let also_runs = kind.also_runs.iter().map(|name| {
            let name = name.strip_prefix("cpu:").unwrap_or(name);
            cpus.canonical(name)
        });
        let stated = kind.architecture.as_deref();
        let stated = stated.map(|name| platform::architecture(name).0.into_owned());
        let named: Vec<_> = names.iter().filter_map(|name| cpus.find(name)).collect();
        let unknown = names.iter().filter(|name| cpus.find(name).is_none());
        Self {
            families: named
                .iter()
                .map(|cpu| cpus.family(*cpu).to_owned())
                .collect(),
            named,
            unknown: unknown.cloned().collect(),
            also_runs: also_runs.collect(),
            flags: values(feature::ISA).cloned().collect(),
            stated,
        }
    }

    /// The architectures that the named CPUs imply. A POWER name without `le`
    /// may be of either byte order.
    pub(crate) fn architectures(&self) -> impl Iterator<Item = &'static str> {
        let families = self.families.iter();
        let either = families
            .clone()
            .any(|family| family == "ppc64")
            .then_some("ppc64le");
        families
            .filter_map(|family| platform::implied_by(family))
            .chain(either)
    }

    /// How good a build for the canonical CPU name `build` is on a host of
    /// `architecture`. `None`: it does not run.
    pub(crate) fn runs(&self, cpus: &CpuTable, architecture: &str, build: &str) -> Option<CpuRank> {
        let Some(id) = cpus.find(build) else {
            let named = self.unknown.contains(build);
            return (named || self.also_runs.contains(build)).then_some(CpuRank {
                level: u32::MAX,
                ancestors: usize::from(named),
                features: 0,
            });
        };
        let id = cpus.as_on(architecture, id).unwrap_or(id);
        let runs = self.at(cpus, architecture).any(|host| cpus.runs(host, id));
        (runs || self.also_runs.contains(build)).then(|| cpus.rank(id))
    }

    /// Whether a host of `architecture` has the folded CPU flag `flag`.
    pub(crate) fn has_flag(&self, cpus: &CpuTable, architecture: &str, flag: &str) -> bool {
        flags_imply(&self.flags, flag)
            || self
                .at(cpus, architecture)
                .any(|host| cpus.has_flag(host, flag))
    }

    /// The CPUs of a host of `architecture`: the named ones that can be, and
    /// the baseline, which every such host is at least.
    fn at(&self, cpus: &CpuTable, architecture: &str) -> impl Iterator<Item = CpuId> {
        let named = self.named.iter().zip(&self.families);
        // Every CPU of x86-64 runs what a Pentium 4 does.
        let wider = platform::wider(architecture).filter(|wider| self.is_of(wider));
        let also = wider.filter(|_| architecture == "386").map(|_| "pentium4");
        let least = [Some(architecture), wider].into_iter().flatten();
        let least = least.filter_map(platform::baseline).chain(also);
        let own = move |(cpu, family): (&CpuId, &String)| {
            let is_own = platform::is_family_of(family, architecture);
            is_own.then_some(*cpu).or(cpus.as_on(architecture, *cpu))
        };
        named
            .filter_map(own)
            .chain(least.filter_map(|name| cpus.find(name)))
    }

    fn is_of(&self, architecture: &str) -> bool {
        match &self.stated {
            Some(stated) => stated == architecture,
            None => self.architectures().any(|implied| implied == architecture),
        }
    }
}

/// The CPU that the `variant` of a type stands for, where it is not 32-bit arm.
fn level_of(kind: &MachineType) -> Option<String> {
    let (architecture, _) = platform::architecture(kind.architecture.as_deref()?);
    match platform::level(&architecture, kind.variant.as_deref()?) {
        Level::Cpu(cpu) => Some(cpu.into_owned()),
        _ => None,
    }
}
