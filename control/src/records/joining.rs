//! What lets workers join: the authority, join tokens, and who has joined.
//!
//! None of it leaves the control plane.

use serde::{Deserialize, Serialize};

use super::Secret;

/// The authority that vouches for the control plane and for workers. All
/// control planes of a store share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authority {
    pub(crate) certificate_pem: String,
    /// PKCS #8.
    pub(crate) key_pem: Secret,
    /// The one whose place it took, for as long as that is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<FormerAuthority>,
}

/// An authority that signs no more. Its key was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormerAuthority {
    pub(crate) certificate_pem: String,
    /// The newest authority's certificate as this one has signed it.
    pub(crate) vouching_pem: String,
}

/// What admits workers that have no certificate yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinToken {
    pub(crate) name: String,
    /// SHA-256 of the secret, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    /// How many workers it still admits. `None`: any number.
    pub(crate) uses_left: Option<u32>,
    /// `None`: it does not expire.
    pub(crate) expires_unix_secs: Option<u64>,
}

/// A worker that has joined, or one that must not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinedWorker {
    pub(crate) id: String,
    /// What its certificates have in common since it joined. `None`: it was
    /// removed.
    pub(crate) membership: Option<String>,
    /// The join token that admitted it.
    pub(crate) token: String,
    /// When its last certificate expires.
    pub(crate) expires_unix_secs: u64,
    /// The fingerprint of the authority that this is from. `None`: it was not
    /// noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<String>,
    /// The fingerprint of the request by which it joined. `None`: it was not
    /// noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
}
