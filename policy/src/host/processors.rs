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
        }
    }

    /// The architectures that the named CPUs imply.
    pub(crate) fn architectures(&self) -> impl Iterator<Item = &'static str> {
        self.families
            .iter()
            .filter_map(|family| platform::implied_by(family))
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
        let baseline = platform::baseline(architecture).and_then(|name| cpus.find(name));
        named
            .filter(move |(_, family)| platform::is_family_of(family, architecture))
            .map(|(cpu, _)| *cpu)
            .chain(baseline)
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
