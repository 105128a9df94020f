//! What an admin has workers drop.

use serde::{Deserialize, Serialize};

/// Cached content that workers drop once: what fits all that is given. Empty
/// texts stand for any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purge {
    pub(crate) id: String,
    pub(crate) upstream: String,
    pub(crate) repository: String,
    pub(crate) digest: String,
    pub(crate) requested_unix_secs: u64,
}
