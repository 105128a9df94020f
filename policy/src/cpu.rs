//! CPU microarchitectures: which runs whose builds, and in what order.
//!
//! The built-in facts are `data/cpus.toml`; a site adds its own. Names are
//! compared case-folded and with `-` for `_`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

mod builtin;
mod nearest;
mod tables;

/// A CPU name that a site adds to the built-in table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Lower case with underscores, for example `novalake`.
    pub name: String,
    /// What it can run besides its own builds.
    #[serde(default)]
    pub parents: Vec<String>,
    /// The CPU flags that are new with it over its parents.
    #[serde(default)]
    pub features: Vec<String>,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// A CPU name that cannot be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCpu {
    /// A parent is in no table.
    #[error("cpu `{name}` has the unknown parent `{parent}`")]
    UnknownParent {
        /// The CPU.
        name: String,
        /// Its parent.
        parent: String,
    },
    /// A CPU is its own ancestor.
    #[error("cpu `{name}` is its own ancestor: take one of the parents away")]
    Cycle {
        /// One CPU of the circle.
        name: String,
    },
    /// A name or alias is taken.
    #[error("cpu `{name}`: `{taken}` is a known name already")]
    Duplicate {
        /// The CPU.
        name: String,
        /// Its name or alias that is taken.
        taken: String,
    },
    /// A name, alias or flag is not spelled as CPU names are.
    #[error(
        "cpu `{name}`: `{word}` is no CPU name or flag: write up to 64 lower-case letters, digits, `_` and `.`"
    )]
    Word {
        /// The CPU.
        name: String,
        /// What is wrong.
        word: String,
    },
}

/// The built-in CPU names and a site's own.
#[derive(Clone, Debug)]
pub struct CpuTable {
    cpus: Vec<Entry>,
    names: HashMap<String, CpuId>,
    /// The generic CPUs of each family, lowest level first.
    generics: HashMap<String, Vec<CpuId>>,
    content: Vec<u8>,
}

/// A CPU of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuId(usize);

/// How good a build for a CPU is among those that run: level of the generic
/// CPU below it, number of ancestors, number of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuRank {
    pub(crate) level: u32,
    pub(crate) ancestors: usize,
    pub(crate) features: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// The oldest ancestor, or the CPU itself.
    family: String,
    ancestors: BTreeSet<usize>,
    features: BTreeSet<String>,
    rank: CpuRank,
}

impl CpuTable {
    /// The names that come with MetaHub. The same table at each call.
    pub fn builtin() -> Arc<Self> {
        static TABLE: LazyLock<Arc<CpuTable>> = LazyLock::new(|| Arc::new(tables::builtin()));
        Arc::clone(&TABLE)
    }

    /// The built-in table with a site's names added, in any order.
    ///
    /// Parents are names or aliases of either. A name that is known already is
    /// refused, for a type that uses it would change its meaning unseen.
    pub fn with_site(cpus: &[Cpu]) -> Result<Self, InvalidCpu> {
        tables::with_site((*Self::builtin()).clone(), cpus)
    }

    /// Whether `name` is in the table, as a name or an alias, in any spelling.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The known names nearest to `name`, best first, three at most.
    pub fn nearest(&self, name: &str) -> Vec<String> {
        nearest::nearest(&fold(name), self.names.keys().map(String::as_str))
    }

    /// The names of the table in order, without aliases.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.cpus.iter().map(|cpu| cpu.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The one spelling of `name`: the table's, or the folded name when the
    /// table does not know it.
    pub fn canonical(&self, name: &str) -> String {
        match self.find(name) {
            Some(CpuId(id)) => self.cpus[id].name.clone(),
            None => fold(name),
        }
    }

    /// What a site added, in one form for one content: for fingerprints.
    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(crate) fn find(&self, name: &str) -> Option<CpuId> {
        match self.names.get(name) {
            Some(id) => Some(*id),
            None => self.names.get(fold(name).as_str()).copied(),
        }
    }

    /// Whether `host` runs what is built for `build`.
    pub(crate) fn runs(&self, host: CpuId, build: CpuId) -> bool {
        host == build || self.cpus[host.0].ancestors.contains(&build.0)
    }

    pub(crate) fn rank(&self, cpu: CpuId) -> CpuRank {
        self.cpus[cpu.0].rank
    }

    /// The oldest ancestor of `cpu`, for example `x86_64`.
    pub(crate) fn family(&self, cpu: CpuId) -> &str {
        &self.cpus[cpu.0].family
    }

    /// Whether `cpu` has the folded `flag`, itself or by what implies it.
    pub(crate) fn has_flag(&self, cpu: CpuId, flag: &str) -> bool {
        let cpu = &self.cpus[cpu.0];
        cpu.features.contains(flag)
            || builtin::facts().flag(flag).is_some_and(|alias| {
                alias
                    .any_of
                    .iter()
                    .any(|other| cpu.features.contains(other))
                    || alias.families.contains(&cpu.family)
            })
    }

    /// The level of the first generic CPU of `family` that has the folded
    /// `flag`; 0 when none has.
    pub(crate) fn level_with_flag(&self, family: &str, flag: &str) -> u32 {
        let generics = self.generics.get(family).into_iter().flatten();
        let mut having = generics.filter(|cpu| self.has_flag(**cpu, flag));
        having.next().map_or(0, |cpu| self.rank(*cpu).level)
    }
}

/// Whether one of `flags` is the folded `flag` or implies it.
pub(crate) fn flags_imply(flags: &BTreeSet<String>, flag: &str) -> bool {
    flags.contains(flag)
        || builtin::facts()
            .flag(flag)
            .is_some_and(|alias| alias.any_of.iter().any(|other| flags.contains(other)))
}

/// The members of the AMD GPU group `name`.
pub(crate) fn gfx_group(name: &str) -> Option<&'static [String]> {
    let group = builtin::facts().gfx_generic.get(name)?;
    Some(group.as_slice())
}

/// The one spelling of a CPU name or flag: lower case, `_` for `-`.
pub(crate) fn fold(name: &str) -> String {
    let fold_char = |c: char| match c {
        '-' => '_',
        other => other.to_ascii_lowercase(),
    };
    name.trim().chars().map(fold_char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(table: &CpuTable, host: &str, build: &str) -> bool {
        table.runs(table.find(host).unwrap(), table.find(build).unwrap())
    }

    fn cpu(name: &str, parents: &[&str]) -> Cpu {
        Cpu {
            name: name.into(),
            parents: parents.iter().map(|parent| parent.to_string()).collect(),
            features: vec![format!("{name}_flag")],
            aliases: Vec::new(),
        }
    }

    #[test]
    fn the_table_has_the_78_targets_of_its_source() {
        assert_eq!(CpuTable::builtin().names().len(), 78);
    }

    #[test]
    fn a_host_runs_its_ancestors_builds_and_no_cousins() {
        let table = CpuTable::builtin();

        assert!(runs(&table, "skylake", "broadwell"));
        assert!(runs(&table, "zen4", "x86_64_v3"));
        assert!(!runs(&table, "broadwell", "skylake"));
        assert!(!runs(&table, "zen4", "haswell"));
    }

    #[test]
    fn spellings_and_aliases_are_one_name() {
        let table = CpuTable::builtin();

        assert_eq!(table.canonical("Milan"), "zen3");
        assert_eq!(table.canonical("x86-64-V3"), "x86_64_v3");
        assert_eq!(table.canonical("Skylake-SP"), "skylake_avx512");
        assert_eq!(table.canonical("Nova-Lake"), "nova_lake");
    }

    #[test]
    fn generic_levels_order_by_version_not_by_depth() {
        let table = CpuTable::builtin();
        let level = |name| table.rank(table.find(name).unwrap()).level;

        assert!(level("armv9.0a") > level("armv8.6a"));
        assert!(level("skylake_avx512") > level("skylake"));
        assert_eq!(level("sandybridge"), level("x86_64_v2"));
    }

    #[test]
    fn a_flag_that_a_parent_has_and_the_cpu_lacks_is_not_inherited() {
        let table = CpuTable::builtin();
        let nehalem = &table.cpus[table.find("nehalem").unwrap().0];

        assert!(!nehalem.features.contains("sse3"));
        assert!(table.has_flag(table.find("nehalem").unwrap(), "sse3"));
    }

    #[test]
    fn flags_follow_from_others_and_from_families() {
        let table = CpuTable::builtin();
        let has = |cpu, flag| table.has_flag(table.find(cpu).unwrap(), flag);

        assert!(has("skylake_avx512", "avx512"));
        assert!(has("nehalem", "sse4.2"));
        assert!(has("power9le", "altivec"));
        assert!(has("graviton3", "neon"));
        assert!(!has("skylake", "avx512"));
        assert!(!has("nocona", "fma"));
    }

    #[test]
    fn a_flag_lifts_to_the_first_generic_level_that_has_it() {
        let table = CpuTable::builtin();

        assert_eq!(table.level_with_flag("x86_64", "popcnt"), 2);
        assert_eq!(table.level_with_flag("x86_64", "avx2"), 3);
        assert_eq!(table.level_with_flag("x86_64", "avx512"), 4);
        assert_eq!(table.level_with_flag("x86_64", "adx"), 0);
    }

    #[test]
    fn site_names_may_come_before_their_parents() {
        let site = [
            cpu("wolflake", &["novalake"]),
            cpu("novalake", &["Arrow-Lake_S"]),
        ];
        let site = [
            site[0].clone(),
            Cpu {
                parents: vec!["arrowlake-s".into()],
                ..site[1].clone()
            },
        ];

        let table = CpuTable::with_site(&site).unwrap();

        assert!(runs(&table, "wolflake", "novalake"));
        assert!(runs(&table, "wolflake", "x86_64_v3"));
        assert!(table.has_flag(table.find("wolflake").unwrap(), "novalake_flag"));
    }

    #[test]
    fn what_cannot_be_a_table_is_refused() {
        let refused = |cpus: &[Cpu]| CpuTable::with_site(cpus).unwrap_err().to_string();

        assert!(refused(&[cpu("a", &["nosuch"])]).contains("unknown parent `nosuch`"));
        assert!(refused(&[cpu("a", &["b"]), cpu("b", &["a"])]).contains("own ancestor"));
        assert!(refused(&[cpu("a", &["a"])]).contains("own ancestor"));
        assert!(refused(&[cpu("a", &[]), cpu("A", &[])]).contains("known name already"));
        assert!(refused(&[cpu("Milan", &[])]).contains("known name already"));
        assert!(refused(&[cpu("a b", &[])]).contains("no CPU name"));
    }

    #[test]
    fn the_content_of_a_table_does_not_depend_on_the_order_of_additions() {
        let one = CpuTable::with_site(&[cpu("a", &[]), cpu("b", &["a"])]).unwrap();
        let other = CpuTable::with_site(&[cpu("b", &["a"]), cpu("a", &[])]).unwrap();

        assert_eq!(one.content(), other.content());
        assert_ne!(one.content(), CpuTable::builtin().content());
    }

    #[test]
    fn the_nearest_names_of_a_misspelling_hold_the_right_one() {
        let table = CpuTable::builtin();

        assert_eq!(table.nearest("skylak")[0], "skylake");
        assert_eq!(table.nearest("broadwel")[0], "broadwell");
        assert!(table.nearest("nothing-like-it").is_empty());
    }
}
