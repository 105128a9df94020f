//! Records of host tokens, and of the host in a login.

use serde::{Deserialize, Serialize};

use super::Secret;

/// The separator before a host's id in its login's name. No name of a user,
/// type or label contains it.
pub(crate) const HOST_MARK: char = '~';

/// A token by which hosts of one user join. It stays in the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostToken {
    pub(crate) user: String,
    pub(crate) name: String,
    /// SHA-256 of the secret, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    /// The types that the token's hosts may get. Empty: all types of the user.
    #[serde(default)]
    pub(crate) types: Vec<String>,
    /// True if a type is created for a host that no type of the user suits.
    #[serde(default)]
    pub(crate) auto: bool,
    /// The number of hosts that may still join. `None`: unlimited.
    pub(crate) uses_left: Option<u32>,
    /// The expiry. `None`: the token does not expire.
    pub(crate) expires_unix_secs: Option<u64>,
    pub(crate) created_by: String,
}

/// The host that a login belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginHost {
    /// The host's id, unique among the hosts of the user.
    pub(crate) id: String,
    /// The hash of the machine's id. Empty: not known.
    #[serde(default)]
    pub(crate) machine: String,
    /// The name of the host token by which the host joined.
    pub(crate) token: String,
    /// The types that the host may get. Empty: all types of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) types: Vec<String>,
    /// True if a type is created for the host when no type suits it.
    #[serde(default)]
    pub(crate) auto: bool,
    /// The type that the host moved to. This login is removed when the host
    /// first uses the login of that type. `None`: this is the host's current
    /// login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved_to: Option<String>,
}

/// The observed status of a host, stored outside the revision: no policy
/// depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObservedHost {
    /// The features of the last report.
    pub(crate) features: Vec<String>,
    pub(crate) evidence: Vec<Evidence>,
    /// The version of the reporting program.
    pub(crate) agent_version: String,
    pub(crate) first_seen_unix_secs: u64,
    /// The last-seen time, coarse: unchanged reports update it a few times a
    /// day.
    pub(crate) last_seen_unix_secs: u64,
    /// The address of the last request.
    pub(crate) address: Option<String>,
    /// The address before `address`.
    pub(crate) former_address: Option<String>,
    /// The last time at which two machines used this host's id.
    pub(crate) doubled_unix_secs: Option<u64>,
    /// The time since which the host lacks a feature of its type.
    pub(crate) drifted_unix_secs: Option<u64>,
}

/// The source of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) feature: String,
    /// The path of a file, or the name of an interface.
    pub(crate) source: String,
    /// The text from the source.
    pub(crate) raw: String,
}
