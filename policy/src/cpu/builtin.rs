//! The facts of `data/cpus.toml`, read once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde::Deserialize;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    pub(super) cpu: BTreeMap<String, Target>,
    pub(super) alias: BTreeMap<String, String>,
    feature_alias: HashMap<String, FlagAlias>,
    pub(super) gfx_generic: HashMap<String, Vec<String>>,
}

/// One microarchitecture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) vendor: String,
    pub(super) parents: Vec<String>,
    #[serde(default)]
    pub(super) features: Vec<String>,
    /// Flags of its ancestors that it lacks.
    #[serde(default)]
    pub(super) without: Vec<String>,
}

/// What implies a CPU flag.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagAlias {
    #[serde(default)]
    pub(super) any_of: Vec<String>,
    #[serde(default)]
    pub(super) families: Vec<String>,
}

impl Facts {
    pub(super) fn flag(&self, flag: &str) -> Option<&FlagAlias> {
        self.feature_alias.get(flag)
    }
}

/// The facts that come with MetaHub.
pub(super) fn facts() -> &'static Facts {
    static FACTS: LazyLock<Facts> = LazyLock::new(|| {
        toml::from_str(include_str!("../../data/cpus.toml"))
            .expect("the built-in file is checked by this crate's tests")
    });
    &FACTS
}
