//! Machine types as admins write them.
//!
//! The serde form is the one of the selection corpus and of files that admins
//! keep; see `docs/selection.md`.

use serde::{Deserialize, Serialize};

use crate::CpuTable;

/// A named description of a kind of host, without the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineType {
    /// The operating system, for example `linux`.
    #[serde(default = "linux")]
    pub os: String,
    /// The architecture in Go's words, for example `amd64`. `None`: implied by
    /// the features' `cpu`, or any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The variant of a 32-bit arm host, for example `v7`. `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of a Windows host, for example `10.0.20348.1`. `None`: any.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the host has, for example `cpu:broadwell`.
    #[serde(default)]
    pub features: Vec<String>,
    /// CPU names whose builds the host runs besides those of its ancestors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_runs: Vec<String>,
    /// How a host with several GPUs matches.
    #[serde(default)]
    pub gpu: GpuMatch,
    /// How a variant is chosen.
    #[serde(default, rename = "match")]
    pub mode: MatchMode,
    /// What a host is told when no variant fits.
    #[serde(default)]
    pub on_no_match: OnNoMatch,
    /// In what form the chosen variant is answered.
    #[serde(default)]
    pub present: Present,
}

fn linux() -> String {
    "linux".into()
}

/// How a host with several GPUs matches a variant's `nvcap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMatch {
    /// The variant must run on every GPU of the host.
    #[default]
    All,
    /// One GPU of the host suffices.
    Any,
}

/// How a variant is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MatchMode {
    /// The best of the variants that fit.
    #[default]
    Best,
    /// Only a variant whose requirements equal the host's features.
    Exact,
    /// The best of the variants that fit and require something.
    BestNoGeneric,
}

/// What a host is told when no variant fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoMatch {
    /// A refusal that says why.
    #[default]
    Error,
    /// The source index, unchanged.
    Passthrough,
}

/// In what form the chosen variant is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// The image manifest itself when one image is kept.
    #[default]
    Auto,
    /// Always an index.
    Index,
}

/// A machine type that cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMachineType {
    /// A feature is not written as the rules of its namespace ask.
    #[error("feature `{feature}`: {reason}")]
    Feature {
        /// As it was given.
        feature: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
}

impl MachineType {
    /// Checks every field. Returns what may be a mistake but can be used, for
    /// people to read: for example a CPU name in no table, with its nearest
    /// known ones.
    pub fn check(&self, _cpus: &CpuTable) -> Result<Vec<String>, InvalidMachineType> {
        Ok(Vec::new())
    }
}
