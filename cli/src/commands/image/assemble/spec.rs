//! What to assemble, in the YAML of manifest-tool.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// The index, with its tag.
    pub(super) image: String,
    /// Further tags for it.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Its images, in this order.
    pub(super) manifests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The image, by tag or digest.
    pub(super) image: String,
    /// What it runs on.
    pub(super) platform: Platform,
    /// Annotations of its descriptor, for example `io.metahub.features`.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A platform, read as manifest-tool spells it and written as the image spec
/// does.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Platform {
    architecture: String,
    os: String,
    #[serde(
        default,
        rename = "os.version",
        alias = "osversion",
        skip_serializing_if = "Option::is_none"
    )]
    os_version: Option<String>,
    #[serde(
        default,
        rename = "os.features",
        alias = "osfeatures",
        skip_serializing_if = "Vec::is_empty"
    )]
    os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
}
