//! What workers record of trimmed indexes.

use serde::{Deserialize, Serialize};

/// How to make a trimmed index again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    pub(crate) digest: String,
    pub(crate) upstream: String,
    pub(crate) repository: String,
    pub(crate) source_digest: String,
    /// Digests, in source order. Of recipes without `kept_places`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<String>,
    /// Places in the source, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept_places: Vec<u32>,
    /// Whose machine type it was recorded for. Empty: not known.
    #[serde(default)]
    pub(crate) user: String,
    /// Coarse: written once a day at most.
    pub(crate) last_used_unix_secs: u64,
}
