//! Detects the features of the machine it runs on, each with its evidence.
//!
//! Reads files below a root directory. Needs no network and no privileges.

use std::{collections::BTreeMap, io, path::Path};

use metahub_policy::CpuTable;
use serde::{Deserialize, Serialize};

use self::{findings::Findings, root::Root};

mod amd;
mod cpu;
mod cpuid;
mod cpuinfo;
mod devices;
mod findings;
mod nvidia;
mod root;
mod system;

#[cfg(test)]
mod tests;

/// The features of one machine, as `metahubctl host detect -o json` prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectedHost {
    /// The version of this form: 1.
    pub schema: u32,
    /// Features in canonical spelling, for example `cpu:zen4`, sorted.
    pub features: Vec<String>,
    /// The evidence for each feature, by feature.
    pub evidence: BTreeMap<String, Evidence>,
    /// Sentences for people: partial data, contradictions.
    pub warnings: Vec<String>,
    /// The x86-64 level of the processors. `None` on other architectures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

/// The x86-64 level of a machine, by its CPU flags alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The level's name, from `x86_64` to `x86_64_v4`.
    pub name: String,
    /// The next higher level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The CPU flags that are missing for `next`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Options for [`detect_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Add the features that others imply: CPU flags, ROCm's version.
    pub full: bool,
    /// Read the CPU by its `cpuid` instruction instead of `/proc/cpuinfo`.
    pub cpuid: bool,
}

/// The source of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// A file, or the name of an interface, for example `nvml`.
    pub source: String,
    /// The text that was read there.
    pub raw: String,
}

/// Why nothing could be detected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The list of processors cannot be read.
    #[error("cannot read {path}: mount the host's /proc there, or name another --root")]
    Processors {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Detects the features of the machine whose `/proc` and `/sys` are below
/// `root`, by the CPU names of `cpus`.
pub fn detect(root: &Path, cpus: &CpuTable) -> Result<DetectedHost, DetectError> {
    detect_with(root, cpus, Options::default())
}

/// Detects features like [`detect`], with options.
pub fn detect_with(
    root: &Path,
    cpus: &CpuTable,
    options: Options,
) -> Result<DetectedHost, DetectError> {
    let root = Root::new(root);
    let mut findings = Findings::default();
    cpu::detect(&root, cpus, &options, &mut findings)?;
    system::detect(&root, &mut findings);
    nvidia::detect(&root, &mut findings);
    amd::detect(&root, options.full, &mut findings);
    devices::detect(&root, &mut findings);
    Ok(findings.into_host(cpus))
}
