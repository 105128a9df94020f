//! The records that metahubctl prints, as programs read them.

mod access;
mod audited;
mod authority;
mod hosts;
mod joining;
mod outcome;
mod rows;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use secrecy::SecretString;
use serde::{Serialize, Serializer};

pub(crate) use self::access::{AdminToken, Role, Who};
pub(crate) use self::audited::{Audited, HistoryEntry};
pub(crate) use self::authority::Authority;
pub(crate) use self::hosts::{
    Host, HostEvidence, HostFacts, HostToken, NewHostToken, ShownHost, time_text,
};
pub(crate) use self::joining::{JoinToken, NewJoinToken};
pub(crate) use self::outcome::{Changed, Outcome};

/// An account: owns machine types and logins.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

/// A machine type and whose it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MachineType {
    pub(crate) user: String,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) shape: metahub_policy::MachineType,
}

/// A login as lists show it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) machine_type: String,
    pub(crate) allow_selectors: bool,
}

/// A login with its secret, which is shown once.
#[derive(Clone, Serialize)]
pub(crate) struct NewLogin {
    pub(crate) name: String,
    pub(crate) secret: String,
}

/// A registry that MetaHub pulls from, without its password.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) default: bool,
    pub(crate) username: String,
    /// Open only to users with a grant, although it has no account.
    pub(crate) restricted: bool,
    /// Its certificate is not verified, and its account may go over plain http.
    pub(crate) insecure: bool,
    /// Certificates of authorities that are trusted for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ca_pem: String,
    pub(crate) blobs: Blobs,
    /// Other names for it, by which workers are reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hosts: Vec<String>,
    /// HTTP/1.1 alone is spoken to it.
    pub(crate) http1: bool,
    /// Further addresses of the same registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fallback_urls: Vec<String>,
    /// The HTTP proxy to reach it through; `none`: no proxy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) proxy: String,
    /// The prefix of each repository's name at the registry.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) repository_prefix: String,
    /// Hosts whose token servers may see the account, beside its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) token_hosts: Vec<String>,
    /// The certificate that workers present to it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client_cert_pem: String,
}

/// The secrets of an upstream. None: the one that it has stays.
#[derive(Debug, Default)]
pub(crate) struct UpstreamSecrets {
    pub(crate) password: Option<SecretString>,
    pub(crate) proxy_password: Option<SecretString>,
    pub(crate) client_key_pem: Option<SecretString>,
}

/// How blobs get to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Blobs {
    /// Through the worker.
    #[default]
    Proxy,
    /// From where the upstream redirects to, if that is another host.
    Redirect,
}

impl Upstream {
    /// Whether only users with a grant may pull from it.
    pub(crate) fn needs_grant(&self) -> bool {
        self.restricted || !self.username.is_empty()
    }
}

/// A variant that an admin has chosen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pin {
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) machine_type: String,
    pub(crate) repository: String,
    pub(crate) digest: String,
}

/// How to make a trimmed index again.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Recipe {
    pub(crate) digest: String,
    pub(crate) upstream: String,
    pub(crate) repository: String,
    pub(crate) source_digest: String,
    /// Digests, of older recipes.
    pub(crate) kept: Vec<String>,
    /// Places in the source.
    pub(crate) kept_places: Vec<u32>,
    /// Empty: not known.
    pub(crate) user: String,
    #[serde(serialize_with = "as_time")]
    pub(crate) last_used: SystemTime,
}

/// A place in the history of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// A worker as the control plane sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) registry_address: String,
    pub(crate) peer_address: String,
    pub(crate) connected: bool,
    pub(crate) applied: Option<Revision>,
    pub(crate) lag_ms: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rejected_reason: String,
    /// The digest of what it holds, in hex.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) digest: String,
    /// How often its copy was found to differ from the policy.
    pub(crate) mismatches: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) mismatch: String,
    /// Whether another worker has the same id.
    pub(crate) doubled: bool,
    #[serde(serialize_with = "as_time")]
    pub(crate) since: SystemTime,
}

/// The state of the control plane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) revision: Option<Revision>,
    pub(crate) users: u64,
    pub(crate) machine_types: u64,
    pub(crate) logins: u64,
    pub(crate) workers_connected: u64,
    pub(crate) workers_current: u64,
    /// Cut off without a word: they may serve an older revision.
    pub(crate) workers_lost: u64,
    /// Ids of two workers each.
    pub(crate) workers_doubled: u64,
    /// Since the control plane started.
    pub(crate) refused_calls: u64,
    pub(crate) hosts: u64,
    /// The number of hosts that lack a feature of their type.
    pub(crate) hosts_drifted: u64,
}

impl MachineType {
    /// A kind of linux host, with the defaults for all else.
    pub(crate) fn for_linux(user: String, name: String, features: Vec<String>) -> Self {
        let shape = metahub_policy::MachineType {
            features,
            ..Default::default()
        };
        Self { user, name, shape }
    }
}

impl Revision {
    /// The revision's number, or a dash where there is none.
    pub(crate) fn text(revision: Option<Self>) -> String {
        revision.map_or_else(|| "-".into(), |revision| revision.number.to_string())
    }
}

/// As in the control plane's logs. One text, since the epoch has more digits
/// than a number of JSON can carry.
impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}/{}", self.epoch, self.number))
    }
}

/// The time that is `seconds` after the start of 1970.
pub(crate) fn from_unix(seconds: u64) -> SystemTime {
    // Year 9999: what RFC 3339 can write.
    UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

fn as_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_rfc3339_seconds(*time))
}
