//! Identifies a machine's CPU: the most specific name of the table whose flags
//! the processors report.
//!
//! Uses archspec's algorithm and archspec's names, so that both give the same
//! answer. Names that only compilers have are never the answer.

use std::collections::BTreeSet;

use super::{
    CpuId, CpuTable, Entry,
    builtin::{Target, facts},
    flag_of,
};

mod partial;

/// The maximum number of missing flags for `IdentifiedCpu::nearly`.
const MAX_LACKING: usize = 3;

/// The facts that a kernel reports about a machine's processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    /// The name of the baseline, for example `x86_64` or `aarch64`.
    pub family: String,
    /// The vendor in the kernel's spelling, for example `GenuineIntel` or
    /// `0x41`, or in archspec's, for example `ARM`.
    pub vendor: String,
    /// The CPU flags that all processors report, in any spelling.
    pub flags: BTreeSet<String>,
    /// The part number on arm64, for example `0xd0c`. Empty: unknown.
    pub part: String,
    /// The generation on POWER, for example 9. 0: unknown.
    pub generation: u32,
    /// The design's name on riscv64, for example `u74mc`. Empty: unknown.
    pub design: String,
}

/// The CPU of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifiedCpu {
    /// The CPU's name in the table, for example `zen4`.
    pub name: String,
    /// The x86-64 level. `None` on other architectures.
    pub level: Option<CpuLevel>,
    /// Flags of CPUs with this name that the machine does not report, mostly
    /// because a hypervisor hides them.
    pub absent: Vec<String>,
    /// If the answer is a level and no design: the vendor's design with the
    /// fewest missing flags, and those flags.
    pub nearly: Option<(String, Vec<String>)>,
}

/// The level of an x86-64 CPU by its flags alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuLevel {
    /// The level's name, from `x86_64` to `x86_64_v4`.
    pub name: String,
    /// The level above it.
    pub next: Option<String>,
    /// The flags that are missing for `next`.
    pub missing: Vec<String>,
}

/// The vendor and flags that identify a CPU of the table on a host.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// The vendor. `None` for a generic CPU.
    vendor: Option<String>,
    flags: BTreeSet<String>,
    part: String,
    generation: u32,
}

impl Signature {
    /// The signature of `target`, with the flags of its parents.
    pub(super) fn new(target: &Target, parents: &[CpuId], table: &CpuTable) -> Self {
        let parents = parents.iter().map(|parent| &table.cpus[parent.0]);
        let inherited = parents.filter_map(|parent| parent.signature.as_ref());
        let mut flags: BTreeSet<_> = inherited.flat_map(|it| &it.flags).cloned().collect();
        flags.extend(target.features.iter().cloned());
        Self {
            vendor: target.vendor.clone(),
            flags,
            part: target.part.clone(),
            generation: target.generation,
        }
    }

    fn fits(
        &self,
        name: &str,
        processor: &Processor,
        vendor: &str,
        flags: &BTreeSet<String>,
    ) -> bool {
        match processor.family.as_str() {
            "ppc64le" | "ppc64" => self.generation <= processor.generation,
            "riscv64" => self.is_generic() || name == processor.design,
            // Flags do not identify the version of the architecture.
            "aarch64" if self.is_generic() => name == "aarch64",
            _ => {
                let own = self.vendor.as_ref();
                own.is_none_or(|own| own == vendor) && self.flags.is_subset(flags)
            }
        }
    }

    fn is_generic(&self) -> bool {
        self.vendor.is_none()
    }
}

impl CpuTable {
    /// The most specific built-in name that fits `processor`: the family is
    /// equal, the vendor is equal or absent, and the processor reports all
    /// flags. `None` if the table does not have the family.
    pub fn identify(&self, processor: &Processor) -> Option<IdentifiedCpu> {
        let flags: BTreeSet<_> = processor.flags.iter().map(|flag| flag_of(flag)).collect();
        let id = self.most_specific(processor, &as_archspec(&flags))?;
        let chosen = &self.cpus[id];
        let absent = match processor.family.as_str() {
            "x86_64" | "aarch64" => chosen.features.difference(&flags).cloned().collect(),
            // Other kernels report no flags of the table.
            _ => Vec::new(),
        };
        Some(IdentifiedCpu {
            name: chosen.name.clone(),
            level: (processor.family == "x86_64").then(|| self.x86_level(&flags)),
            absent,
            nearly: (is_generic(chosen))
                .then(|| self.nearly(id, vendor(&processor.vendor), &flags))
                .flatten(),
        })
    }

    /// The design of `vendor` above `generic` with the fewest missing flags.
    fn nearly(
        &self,
        generic: usize,
        vendor: &str,
        flags: &BTreeSet<String>,
    ) -> Option<(String, Vec<String>)> {
        let above = self
            .cpus
            .iter()
            .filter(|cpu| cpu.ancestors.contains(&generic));
        let lacking = above.filter_map(|cpu| {
            let signature = cpu.signature.as_ref()?;
            let is_own = signature.vendor.as_deref() == Some(vendor);
            let lacking: Vec<_> = signature.flags.difference(flags).cloned().collect();
            (is_own && (1..=MAX_LACKING).contains(&lacking.len())).then_some((cpu, lacking))
        });
        let best = lacking
            .min_by_key(|(cpu, lacking)| (lacking.len(), std::cmp::Reverse(cpu.rank), &cpu.name));
        best.map(|(cpu, lacking)| (cpu.name.clone(), lacking))
    }

    fn most_specific(&self, processor: &Processor, flags: &BTreeSet<String>) -> Option<usize> {
        let vendor = vendor(&processor.vendor);
        let fits = |(_, cpu): &(usize, &Entry)| {
            cpu.family == processor.family
                && (cpu.signature.as_ref())
                    .is_some_and(|it| it.fits(&cpu.name, processor, vendor, flags))
        };
        let candidates: Vec<_> = self.cpus.iter().enumerate().filter(fits).collect();
        let generic = best(candidates.iter().filter(|(_, cpu)| is_generic(cpu)))?;
        let own_part = |cpu: &Entry| {
            let part = cpu.signature.as_ref().map(|it| it.part.as_str());
            !processor.part.is_empty() && part == Some(&processor.part)
        };
        let has_part = candidates.iter().any(|(_, cpu)| own_part(cpu));
        // Only designs above the best generic CPU count: a rare flag that the
        // firmware hides must not turn a new design into an old one.
        let designs = candidates
            .iter()
            .filter(|(_, cpu)| cpu.ancestors.contains(&generic) && (!has_part || own_part(cpu)));
        Some(best(designs).unwrap_or(generic))
    }

    /// The highest level whose flags are all in `flags`.
    fn x86_level(&self, flags: &BTreeSet<String>) -> CpuLevel {
        let levels = self.generics.get("x86_64").into_iter().flatten();
        let levels: Vec<_> = levels.map(|id| &self.cpus[id.0]).collect();
        let above = levels.iter().skip(1);
        let next = above.clone().find(|level| !level.features.is_subset(flags));
        let reached = above.take_while(|level| level.features.is_subset(flags));
        let missing = next.map(|next| next.features.difference(flags).cloned().collect());
        CpuLevel {
            name: reached.last().unwrap_or(&levels[0]).name.clone(),
            next: next.map(|next| next.name.clone()),
            missing: missing.unwrap_or_default(),
        }
    }
}

/// archspec's name of the vendor that arm64 kernels write as a number.
fn vendor(reported: &str) -> &str {
    let name = facts().arm_vendor.get(reported);
    name.map_or(reported, String::as_str)
}

/// The flags as archspec reads them: archspec derives `sse3` from `ssse3`, not
/// from Linux's `pni`.
fn as_archspec(flags: &BTreeSet<String>) -> BTreeSet<String> {
    let mut flags = flags.clone();
    if !flags.contains("ssse3") {
        flags.remove("sse3");
    }
    flags
}

fn is_generic(cpu: &Entry) -> bool {
    cpu.signature.as_ref().is_some_and(Signature::is_generic)
}

/// The CPU with the most ancestors, then with the most flags.
fn best<'a>(cpus: impl Iterator<Item = &'a (usize, &'a Entry)>) -> Option<usize> {
    let order = |(_, cpu): &&(usize, &'a Entry)| {
        let flags = cpu.signature.as_ref().map(|it| it.flags.len());
        (cpu.rank.ancestors, flags, cpu.name.as_str())
    };
    cpus.max_by_key(order).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86(vendor: &str, level: &str, more: &str) -> Processor {
        let table = CpuTable::builtin();
        let CpuId(level) = table.find(level).unwrap();
        let flags = table.cpus[level].features.iter().cloned();
        Processor {
            family: "x86_64".into(),
            vendor: vendor.into(),
            flags: flags
                .chain(more.split_whitespace().map(str::to_owned))
                .collect(),
            ..Processor::default()
        }
    }

    fn name(processor: &Processor) -> String {
        CpuTable::builtin().identify(processor).unwrap().name
    }

    fn level(processor: &Processor) -> CpuLevel {
        let identified = CpuTable::builtin().identify(processor);
        identified.and_then(|cpu| cpu.level).unwrap()
    }

    #[test]
    fn a_cpu_with_hidden_flags_is_the_weaker_one() {
        let whole = x86("AuthenticAMD", "zen4", "");
        let masked = x86("AuthenticAMD", "zen3", "avx512_vnni");

        assert_eq!(name(&whole), "zen4");
        assert_eq!(name(&masked), "zen3");
    }

    #[test]
    fn sse3_without_ssse3_is_what_it_is_to_archspec() {
        let old = x86("GenuineIntel", "x86_64", "pni cx16");

        assert_eq!(name(&old), "x86_64");
        assert_eq!(name(&x86("GenuineIntel", "core2", "")), "core2");
    }

    #[test]
    fn a_cpu_of_another_vendor_is_its_level() {
        assert_eq!(name(&x86("GenuineIntel", "zen3", "")), "skylake");
        assert_eq!(name(&x86("CentaurHauls", "haswell", "")), "x86_64_v3");
    }

    #[test]
    fn names_of_compilers_are_no_answer() {
        assert_eq!(
            name(&x86("GenuineIntel", "graniterapids", "")),
            "sapphirerapids"
        );
    }

    #[test]
    fn flags_that_a_name_implies_and_a_machine_lacks_are_told() {
        let mut machine = x86("AuthenticAMD", "zen4", "");
        machine.flags.remove("sha_ni");

        let identified = CpuTable::builtin().identify(&machine).unwrap();

        assert_eq!(
            (identified.name.as_str(), identified.absent),
            ("zen4", vec!["sha_ni".to_owned()])
        );
    }

    #[test]
    fn a_design_that_lacks_few_flags_is_named_beside_the_level() {
        let mut machine = x86("AuthenticAMD", "zen4", "");
        machine.flags.remove("clzero");

        let identified = CpuTable::builtin().identify(&machine).unwrap();

        assert_eq!(identified.name, "x86_64_v4");
        assert_eq!(
            identified.nearly,
            Some(("zen4".to_owned(), vec!["clzero".to_owned()]))
        );
    }

    #[test]
    fn the_level_goes_by_flags_and_tells_what_the_next_one_lacks() {
        let mut machine = x86(
            "GenuineIntel",
            "skylake",
            "avx512f avx512bw avx512cd avx512dq",
        );

        assert_eq!(level(&machine).name, "x86_64_v3");
        assert_eq!(level(&machine).next.as_deref(), Some("x86_64_v4"));
        assert_eq!(level(&machine).missing, ["avx512vl"]);
        machine.flags.insert("avx512vl".into());
        assert_eq!(
            (level(&machine).name.as_str(), level(&machine).next),
            ("x86_64_v4", None)
        );
    }

    #[test]
    fn a_family_outside_the_table_has_no_answer() {
        let loong = Processor {
            family: "loongarch64".into(),
            ..Processor::default()
        };

        assert_eq!(CpuTable::builtin().identify(&loong), None);
    }
}
