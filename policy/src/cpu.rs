//! CPU microarchitectures: which runs whose builds, and in what order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
}

/// The built-in CPU names and a site's own.
#[derive(Clone, Debug)]
pub struct CpuTable {}

impl CpuTable {
    /// The names that come with MetaHub. The same table at each call.
    pub fn builtin() -> Arc<Self> {
        Arc::new(Self {})
    }

    /// The built-in table with a site's names added, in any order.
    pub fn with_site(_cpus: &[Cpu]) -> Result<Self, InvalidCpu> {
        Ok(Self {})
    }

    /// Whether `name` is in the table, as a name or an alias, in any spelling.
    pub fn contains(&self, _name: &str) -> bool {
        false
    }

    /// The known names nearest to `name`, best first, three at most.
    pub fn nearest(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
}
