//! Host tokens, and what a login says of its host.

use serde::{Deserialize, Serialize};

use super::Secret;

/// The separator before a host's id in its login's name. No name of a user,
/// type or label has it.
pub(crate) const HOST_MARK: char = '~';

/// A token by which hosts of one user join. It does not leave the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostToken {
    pub(crate) user: String,
    pub(crate) name: String,
    /// SHA-256 of the secret, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    /// The types that its hosts may get. Empty: all of the user.
    #[serde(default)]
    pub(crate) types: Vec<String>,
    /// Whether a type is made for a host that none of the user's suits.
    #[serde(default)]
    pub(crate) auto: bool,
    /// How many hosts may still join by it. `None`: any number.
    pub(crate) uses_left: Option<u32>,
    /// `None`: it does not expire.
    pub(crate) expires_unix_secs: Option<u64>,
    pub(crate) created_by: String,
}

/// The host that a login belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoginHost {
    /// Unique among the hosts of the user.
    pub(crate) id: String,
    /// The hash of the machine's id. Empty: not known.
    #[serde(default)]
    pub(crate) machine: String,
    /// The name of the host token by which it joined.
    pub(crate) token: String,
    /// The types that it may get. Empty: all of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) types: Vec<String>,
    /// Whether a type is made for it where none suits it.
    #[serde(default)]
    pub(crate) auto: bool,
    /// The type that the host has moved to: this login goes as soon as the host
    /// uses that type's. `None`: this is the host's login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved_to: Option<String>,
}

/// What is observed of a host. Kept outside the revision: it changes no policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObservedHost {
    /// As it reported last.
    pub(crate) features: Vec<String>,
    pub(crate) evidence: Vec<Evidence>,
    /// The version of the program that reported.
    pub(crate) agent_version: String,
    pub(crate) first_seen_unix_secs: u64,
    /// Coarse: a report that says nothing new is noted a few times a day.
    pub(crate) last_seen_unix_secs: u64,
    /// The address that it came from last.
    pub(crate) address: Option<String>,
    /// The address that it came from before that.
    pub(crate) former_address: Option<String>,
    /// When it was last seen to be two machines.
    pub(crate) doubled_unix_secs: Option<u64>,
    /// Since when it lacks something of its type.
    pub(crate) drifted_unix_secs: Option<u64>,
}

/// The source of one feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) feature: String,
    /// A file, or the name of an interface.
    pub(crate) source: String,
    /// The text that was read there.
    pub(crate) raw: String,
}
