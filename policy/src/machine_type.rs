//! Machine types as admins write them.
//!
//! The serde form is the one of the selection corpus and of files that admins
//! keep; see `docs/selection.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CpuTable;

mod check;

pub(crate) use self::check::{readable, selected_platform};

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
        alias = "os_version",
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
    /// Which platforms the answer has.
    #[serde(default, skip_serializing_if = "Platforms::is_own")]
    pub platforms: Platforms,
}

fn linux() -> String {
    "linux".into()
}

/// How a host with several GPUs matches a variant's `nvcap`, or its `gfx`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMatch {
    /// The variant must run on every GPU of the host.
    #[default]
    All,
    /// One GPU of the host suffices.
    Any,
}

/// How a variant is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoMatch {
    /// A refusal that says why.
    #[default]
    Error,
    /// The source index, unchanged.
    Passthrough,
}

/// In what form the chosen variant is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Present {
    /// The image manifest itself when one image is kept.
    #[default]
    Auto,
    /// Always an index.
    Index,
}

/// Which platforms the answer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Platforms {
    /// The host's own.
    #[default]
    Own,
    /// The host's own, and of each other what a host without features is
    /// given: for hosts that build for other platforms. Always an index.
    All,
}

impl Platforms {
    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// A machine type that cannot be used, and what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMachineType {
    /// A feature is not written as the rules of its namespace ask.
    #[error("feature `{feature}` {reason}")]
    Feature {
        /// As it was given.
        feature: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// Another field cannot be used.
    #[error("{field} `{value}` {reason}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A list is too long.
    #[error("{count} {field} are too many: {limit} at most")]
    TooMany {
        /// The field's name.
        field: &'static str,
        /// How many were given.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl MachineType {
    /// Checks every field. Returns what may be a mistake but can be used, for
    /// people to read: for example a CPU name in no table, with its nearest
    /// known ones.
    pub fn check(&self, cpus: &CpuTable) -> Result<Vec<String>, InvalidMachineType> {
        check::check(self, cpus)
    }

    /// Whether one image is answered in an index, too.
    pub fn wants_index(&self) -> bool {
        self.present == Present::Index || self.platforms == Platforms::All
    }
}

impl Default for MachineType {
    /// Any Linux host.
    fn default() -> Self {
        Self {
            os: linux(),
            architecture: None,
            variant: None,
            os_version: None,
            features: Vec::new(),
            also_runs: Vec::new(),
            gpu: GpuMatch::default(),
            mode: MatchMode::default(),
            on_no_match: OnNoMatch::default(),
            present: Present::default(),
            platforms: Platforms::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(features: &[&str]) -> MachineType {
        MachineType {
            features: features.iter().map(|text| text.to_string()).collect(),
            ..MachineType::default()
        }
    }

    fn warnings(kind: &MachineType) -> Vec<String> {
        kind.check(&CpuTable::builtin()).unwrap()
    }

    fn refusal(kind: &MachineType) -> String {
        kind.check(&CpuTable::builtin()).unwrap_err().to_string()
    }

    #[test]
    fn what_the_design_writes_is_fine() {
        let fine = kind(&[
            "cpu:milan",
            "nvcap:8.0",
            "nvcap:9.0",
            "gfx:gfx90a:xnack+",
            "avx2",
            "instType:c5",
        ]);

        assert_eq!(warnings(&fine), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_cpu_warns_with_the_nearest_names() {
        let warnings = warnings(&kind(&["cpu:skylak"]));

        assert!(
            warnings[0].contains("cpu `skylak` is not known"),
            "{warnings:?}"
        );
        assert!(warnings[0].contains("near: skylake"), "{warnings:?}");
        assert!(warnings[0].contains("no level such as `x86_64_v3`"));
        assert!(warnings[0].contains("`metahubctl cpu add skylak --parent NAME`"));
    }

    #[test]
    fn values_that_their_namespace_cannot_read_are_refused_with_an_example() {
        for (feature, instead) in [
            ("nvcap:hopper", "nvcap:9.0"),
            ("cuda:latest", "cuda:12.4"),
            ("gfx:mi250", "gfx:gfx90a"),
            ("cpu:", "cpu:skylake"),
            ("cpu:a,cpu:b", "namespace:value"),
            ("cpu: zen", "namespace:value"),
        ] {
            assert!(refusal(&kind(&[feature])).contains(instead), "{feature}");
        }
    }

    #[test]
    fn other_words_for_an_architecture_are_refused_with_gos() {
        let wrong = MachineType {
            architecture: Some("x86_64".into()),
            ..kind(&[])
        };

        assert_eq!(
            refusal(&wrong),
            "architecture `x86_64` is not the word that images use: write `amd64`"
        );
    }

    #[test]
    fn a_variant_is_for_32_bit_arm() {
        let with = |architecture: &str, variant: &str| MachineType {
            architecture: Some(architecture.into()),
            variant: Some(variant.into()),
            ..kind(&[])
        };

        assert!(warnings(&with("arm", "v7")).is_empty());
        assert!(warnings(&with("amd64", "v3"))[0].contains("cpu:x86_64_v3"));
        assert!(refusal(&with("arm", "v99")).contains("`v7`"));
        assert!(warnings(&with("arm64", "v8")).is_empty());
        assert!(warnings(&with("s390x", "z15"))[0].contains("cpu:z15"));
        assert!(refusal(&with("mips64", "r6")).contains("as features"));
    }

    #[test]
    fn an_architecture_that_the_cpu_is_not_of_warns() {
        let with = |architecture: &str| MachineType {
            architecture: Some(architecture.into()),
            ..kind(&["cpu:zen3"])
        };

        assert!(warnings(&with("arm64"))[0].contains("x86_64"));
        assert!(warnings(&with("386")).is_empty());
    }

    #[test]
    fn lists_are_bounded() {
        let many = vec!["avx2"; 257];

        assert_eq!(
            refusal(&kind(&many)),
            "257 features are too many: 256 at most"
        );
    }

    #[test]
    fn the_serde_form_is_the_corpus_form() {
        let text = r#"{"os":"windows","os.version":"10.0.20348.1","features":["cpu:zen3"],"match":"best-no-generic"}"#;
        let kind: MachineType = serde_json::from_str(text).unwrap();

        assert_eq!(kind.mode, MatchMode::BestNoGeneric);
        assert_eq!(
            serde_json::from_str::<MachineType>("{}").unwrap(),
            MachineType::default()
        );
    }
}
