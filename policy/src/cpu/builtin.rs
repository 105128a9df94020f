//! The facts of `data/cpus.toml`, read once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    pub(super) cpu: BTreeMap<String, Target>,
    pub(super) alias: BTreeMap<String, String>,
    flag: HashMap<String, FlagAlias>,
    /// Canonical flags by another spelling, without separators.
    spelling: HashMap<String, String>,
    /// Vendors of arm64 CPUs, by the number in Linux's /proc/cpuinfo.
    pub(super) arm_vendor: HashMap<String, String>,
    pub(super) gfx_generic: HashMap<String, Vec<String>>,
}

/// One microarchitecture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// Whether it is a baseline or level and no design.
    #[serde(default)]
    pub(super) generic: bool,
    /// Where its name is from, if not from archspec.
    from: Option<String>,
    /// Whose builds it runs, and all that they run.
    #[serde(default)]
    pub(super) parents: Vec<String>,
    /// Whose builds it runs besides, and no more.
    #[serde(default)]
    pub(super) also: Vec<String>,
    /// The flags by which archspec identifies the CPU, without those of its
    /// parents.
    #[serde(default)]
    pub(super) features: Vec<String>,
    /// Further flags of the CPU.
    #[serde(default)]
    pub(super) extra: Vec<String>,
    /// The vendor of a design that archspec identifies.
    pub(super) vendor: Option<String>,
    /// The part number of an arm64 design, as /proc/cpuinfo writes it.
    #[serde(default)]
    pub(super) part: String,
    /// The generation of a POWER design.
    #[serde(default)]
    pub(super) generation: u32,
}

/// What implies a CPU flag.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FlagAlias {
    any_of: Vec<String>,
    all_of: Vec<String>,
    families: Vec<String>,
}

impl Target {
    /// Whether archspec has it: only such names count as ancestors in ranking,
    /// so that a name that is added to the table reorders no others.
    pub(super) fn is_ranked(&self) -> bool {
        self.from.is_none()
    }
}

impl Facts {
    /// Whether CPUs of `family` with `flags` have `flag`, in the table's
    /// spelling.
    pub(super) fn has_flag(&self, flags: &BTreeSet<String>, family: &str, flag: &str) -> bool {
        let implied = |alias: &FlagAlias| {
            alias.any_of.iter().any(|other| flags.contains(other))
                || !alias.all_of.is_empty() && alias.all_of.iter().all(|all| flags.contains(all))
                || alias.families.iter().any(|own| own == family)
        };
        flags.contains(flag) || self.flag.get(flag).is_some_and(implied)
    }
}

/// The table's spelling of a folded CPU flag: Linux's. One that the table does
/// not have stays.
pub(super) fn canonical_flag(flag: &str) -> &str {
    static SPELLINGS: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
        let facts = facts();
        let known = facts
            .cpu
            .values()
            .flat_map(|cpu| cpu.features.iter().chain(&cpu.extra));
        let known = known.chain(facts.flag.keys());
        let known = known.map(|flag| (without_separators(flag), flag.as_str()));
        let others = facts.spelling.iter();
        let others = others.map(|(other, flag)| (other.clone(), flag.as_str()));
        known.chain(others).collect()
    });
    SPELLINGS
        .get(&without_separators(flag))
        .map_or(flag, |known| *known)
}

fn without_separators(flag: &str) -> String {
    flag.replace(['_', '.'], "")
}

/// The facts that come with MetaHub.
pub(super) fn facts() -> &'static Facts {
    static FACTS: LazyLock<Facts> = LazyLock::new(|| {
        toml::from_str(include_str!("../../data/cpus.toml"))
            .expect("the built-in file is checked by this crate's tests")
    });
    &FACTS
}
