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
mod identify;
mod nearest;
mod tables;

pub use self::identify::{CpuLevel, IdentifiedCpu, Processor};

/// A CPU name that a site adds to the built-in table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Lower case with underscores, for example `futurelake`.
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
    /// The CPU's signature on a host. `None`: archspec does not have the CPU.
    signature: Option<identify::Signature>,
    /// Whether it counts among the ancestors of others.
    is_ranked: bool,
}

impl CpuTable {
    /// The names that come with MetaHub. The same table at each call.
    pub fn builtin() -> Arc<Self> {
        static TABLE: LazyLock<Arc<CpuTable>> = LazyLock::new(|| Arc::new(tables::builtin()));
        Arc::clone(&TABLE)
    }

    /// The built-in table with a site's names added, in any order.
    ///
    /// Parents are names or aliases of either. A site's name takes the place of
    /// a built-in one of that name; see [`CpuTable::check_new`].
    pub fn with_site(cpus: &[Cpu]) -> Result<Self, InvalidCpu> {
        tables::with_site((*Self::builtin()).clone(), cpus)
    }

    /// Refuses a name or alias that the table has, where a site adds one: types
    /// that use it would change their meaning unseen.
    pub fn check_new(&self, cpu: &Cpu) -> Result<(), InvalidCpu> {
        match tables::names(cpu).find(|name| self.contains(name)) {
            Some(name) => Err(tables::duplicate(cpu, name)),
            None => Ok(()),
        }
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
        names.dedup();
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

    /// The canonical spelling of a CPU flag: Linux's, if the table has it.
    pub fn canonical_flag(&self, flag: &str) -> String {
        flag_of(flag)
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

    /// What `cpu` is called on hosts of `architecture`, where that is another
    /// name: the POWER names of archspec without `le` are big-endian, but people
    /// write them of ppc64le hosts too.
    pub(crate) fn as_on(&self, architecture: &str, cpu: CpuId) -> Option<CpuId> {
        let is_little = architecture == "ppc64le" && self.family(cpu) == "ppc64";
        let name = is_little.then(|| format!("{}le", self.cpus[cpu.0].name))?;
        self.find(&name)
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

    /// Whether `cpu` has `flag`, in the table's spelling, itself or by what
    /// implies it.
    pub(crate) fn has_flag(&self, cpu: CpuId, flag: &str) -> bool {
        let cpu = &self.cpus[cpu.0];
        builtin::facts().has_flag(&cpu.features, &cpu.family, flag)
    }

    /// The level of the first generic CPU of `family` that has `flag`, in the
    /// table's spelling; 0 when none has.
    pub(crate) fn level_with_flag(&self, family: &str, flag: &str) -> u32 {
        let generics = self.generics.get(family).into_iter().flatten();
        let mut having = generics.filter(|cpu| self.has_flag(**cpu, flag));
        having.next().map_or(0, |cpu| self.rank(*cpu).level)
    }
}

/// Whether one of `flags` is `flag` or implies it, all in the table's spelling.
pub(crate) fn flags_imply(flags: &BTreeSet<String>, flag: &str) -> bool {
    builtin::facts().has_flag(flags, "", flag)
}

/// The one spelling of a CPU flag: the table's, or the folded one when the
/// table does not have it.
pub(crate) fn flag_of(flag: &str) -> String {
    builtin::canonical_flag(&fold(flag)).to_owned()
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
    fn names_of_archspec_and_of_compilers_have_levels() {
        let table = CpuTable::builtin();
        let level = |name| table.rank(table.find(name).expect(name)).level;

        for name in ["graniterapids", "diamondrapids", "cooperlake", "znver6"] {
            assert_eq!(level(name), 4, "{name}");
        }
        for name in ["tigerlake", "rocketlake"] {
            assert_eq!(level(name), 4, "{name}");
        }
        for name in ["sierraforest", "clearwaterforest", "raptorlake"] {
            assert_eq!(level(name), 3, "{name}");
        }
        for name in ["meteorlake", "lunarlake", "pantherlake", "arrowlake"] {
            assert_eq!(level(name), 3, "{name}");
        }
        for name in ["neoverse_v3", "neoverse-n3", "graviton5", "olympus"] {
            assert_eq!(level(name), 92, "{name}");
        }
        for (name, expected) in [("axion", 90), ("cobalt100", 90), ("ampereone", 86)] {
            assert_eq!(level(name), expected, "{name}");
        }
        for (name, expected) in [("m5", 87), ("rva23u64", 23), ("z17", 17), ("power11", 1)] {
            assert_eq!(level(name), expected, "{name}");
        }
    }

    #[test]
    fn newer_names_run_the_builds_of_those_whose_features_they_have() {
        let table = CpuTable::builtin();

        assert!(runs(&table, "graniterapids", "sapphirerapids"));
        assert!(runs(&table, "tigerlake", "icelake_client"));
        assert!(runs(&table, "sapphirerapids", "cooperlake"));
        assert!(runs(&table, "neoverse_v3", "neoverse_n2"));
        assert!(runs(&table, "neoverse_v3ae", "neoverse_v3"));
        assert!(runs(&table, "power11le", "power10le"));
        assert!(!runs(&table, "power10le", "power11le"));
        assert!(!runs(&table, "rocketlake", "icelake"));
        assert!(!runs(&table, "zen5", "graniterapids"));
        assert!(!runs(&table, "neoverse_v3ae", "neoverse_n2"));
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
        assert_eq!(table.canonical("Future-Lake"), "future_lake");
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
    fn flags_follow_from_others_and_from_families() {
        let table = CpuTable::builtin();
        let has = |cpu, flag| table.has_flag(table.find(cpu).unwrap(), &flag_of(flag));

        assert!(has("skylake_avx512", "avx512"));
        assert!(has("nehalem", "sse4.2"));
        assert!(has("power9le", "altivec"));
        assert!(has("graviton3", "neon"));
        assert!(!has("skylake", "avx512"));
        assert!(!has("nocona", "fma"));
        assert!(has("nehalem", "sse4") && !has("penryn", "sse4"));
        assert!(!has("thunderx2", "fp16") && has("neoverse_n1", "fp16"));
    }

    #[test]
    fn a_flag_is_read_in_any_usual_spelling() {
        for (spelt, flag) in [
            ("SSE4.1", "sse4_1"),
            ("bmi", "bmi1"),
            ("lzcnt", "abm"),
            ("avx512vnni", "avx512_vnni"),
            ("AVX512-VNNI", "avx512_vnni"),
            ("sha", "sha_ni"),
            ("rdrnd", "rdrand"),
            ("neon", "asimd"),
            ("dotprod", "asimddp"),
            ("sve2-aes", "sveaes"),
            ("my_flag", "my_flag"),
        ] {
            assert_eq!(flag_of(spelt), flag);
        }
    }

    #[test]
    fn cpus_have_the_flags_that_real_hosts_report() {
        let table = CpuTable::builtin();
        let has = |cpu, flag| table.has_flag(table.find(cpu).unwrap(), flag);

        for flag in ["sha_ni", "adx", "rdrand"] {
            assert!(has("zen", flag), "{flag}");
        }
        assert!(has("zen2", "rdpid") && has("cascadelake", "pku"));
        assert!(has("sapphirerapids", "avx512_fp16"));
        assert!(has("x86_64", "sse2") && has("aarch64", "asimd"));
        assert!(!has("a64fx", "aes"));
    }

    #[test]
    fn a_flag_lifts_to_the_first_generic_level_that_has_it() {
        let table = CpuTable::builtin();

        assert_eq!(table.level_with_flag("x86_64", "sse2"), 1);
        assert_eq!(table.level_with_flag("x86_64", "popcnt"), 2);
        assert_eq!(table.level_with_flag("x86_64", "avx2"), 3);
        assert_eq!(table.level_with_flag("x86_64", "avx512"), 4);
        assert_eq!(table.level_with_flag("x86_64", "adx"), 0);
    }

    #[test]
    fn site_names_may_come_before_their_parents() {
        let site = [
            cpu("wolflake", &["futurelake"]),
            cpu("futurelake", &["Arrow-Lake_S"]),
        ];
        let site = [
            site[0].clone(),
            Cpu {
                parents: vec!["arrowlake-s".into()],
                ..site[1].clone()
            },
        ];

        let table = CpuTable::with_site(&site).unwrap();

        assert!(runs(&table, "wolflake", "futurelake"));
        assert!(runs(&table, "wolflake", "x86_64_v3"));
        assert!(table.has_flag(table.find("wolflake").unwrap(), "futurelake_flag"));
    }

    #[test]
    fn what_cannot_be_a_table_is_refused() {
        let refused = |cpus: &[Cpu]| CpuTable::with_site(cpus).unwrap_err().to_string();

        assert!(refused(&[cpu("a", &["nosuch"])]).contains("unknown parent `nosuch`"));
        assert!(refused(&[cpu("a", &["b"]), cpu("b", &["a"])]).contains("own ancestor"));
        assert!(refused(&[cpu("a", &["a"])]).contains("own ancestor"));
        assert!(refused(&[cpu("a", &[]), cpu("A", &[])]).contains("known name already"));
        assert!(refused(&[cpu("a b", &[])]).contains("no CPU name"));
    }

    #[test]
    fn a_name_of_a_site_that_a_later_release_knows_keeps_its_meaning() {
        let site = [
            cpu("graniterapids", &["zen3"]),
            cpu("x", &["graniterapids"]),
        ];

        let table = CpuTable::with_site(&site).unwrap();

        assert!(runs(&table, "graniterapids", "zen3"));
        assert!(runs(&table, "x", "zen3"));
        assert!(!runs(&table, "graniterapids", "sapphirerapids"));
        let refused = CpuTable::builtin().check_new(&site[0]).unwrap_err();
        assert!(refused.to_string().contains("known name already"));
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
