//! Hosts and their tokens, as printed.

use humantime::format_rfc3339_seconds;
use serde::Serialize;

use super::from_unix;
use crate::output::Row;

/// A token that hosts of one user join with.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HostToken {
    pub(crate) user: String,
    pub(crate) name: String,
    /// The types that a host can get. Empty: all of the user's.
    pub(crate) types: Vec<String>,
    /// Whether the control plane creates a type for a host that fits none of
    /// the user's types.
    pub(crate) auto: bool,
    /// The remaining uses. `None`: any number.
    pub(crate) uses_left: Option<u32>,
    /// The expiry, as RFC 3339. `None`: the token does not expire.
    pub(crate) expires: Option<String>,
    pub(crate) created_by: String,
}

/// A host token that was just created, with its secret.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewHostToken {
    #[serde(flatten)]
    pub(crate) token: HostToken,
    pub(crate) secret: String,
}

/// The facts that a host reports: features, evidence, agent version.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostFacts {
    pub(crate) features: Vec<String>,
    /// The evidence, each with feature, source and text.
    pub(crate) evidence: Vec<(String, String, String)>,
    pub(crate) agent_version: String,
}

/// A host that has joined.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) user: String,
    #[serde(rename = "type")]
    pub(crate) machine_type: String,
    pub(crate) login: String,
    pub(crate) token: String,
    pub(crate) features: Vec<String>,
    pub(crate) agent_version: String,
    /// The time of the first contact, as RFC 3339. `None`: unknown.
    pub(crate) first_seen: Option<String>,
    /// The time of the last contact, as RFC 3339, to a few hours. `None`:
    /// unknown.
    pub(crate) last_seen: Option<String>,
    pub(crate) address: String,
    /// The features of its type that the host lacks.
    pub(crate) drift: Vec<String>,
    /// The start of the drift, as RFC 3339. `None`: the host lacks nothing.
    pub(crate) drifted: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// A host with the evidence for its features.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShownHost {
    #[serde(flatten)]
    pub(crate) host: Host,
    pub(crate) evidence: Vec<HostEvidence>,
}

/// The source of one feature.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HostEvidence {
    pub(crate) feature: String,
    pub(crate) source: String,
    pub(crate) raw: String,
}

/// A time as RFC 3339. `None` for 0.
pub(crate) fn time_text(unix_secs: u64) -> Option<String> {
    (unix_secs > 0).then(|| format_rfc3339_seconds(from_unix(unix_secs)).to_string())
}

impl Row for HostToken {
    const COLUMNS: &'static [&'static str] = &[
        "USER",
        "HOST TOKEN",
        "TYPES",
        "USES LEFT",
        "EXPIRES",
        "CREATED BY",
    ];

    fn cells(&self) -> Vec<String> {
        let types = match (self.auto, self.types.is_empty()) {
            (true, _) => "any, or a new one".to_owned(),
            (false, true) => "any".to_owned(),
            (false, false) => self.types.join(","),
        };
        let uses = self.uses_left.map(|uses| uses.to_string());
        vec![
            self.user.clone(),
            self.name.clone(),
            types,
            uses.unwrap_or_else(|| "any".into()),
            self.expires.clone().unwrap_or_else(|| "never".into()),
            self.created_by.clone(),
        ]
    }
}

impl Row for Host {
    const COLUMNS: &'static [&'static str] =
        &["HOST", "USER", "TYPE", "LAST SEEN", "ADDRESS", "DRIFT"];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &str| match text.is_empty() {
            true => "-".to_owned(),
            false => text.to_owned(),
        };
        let mut drift = self.drift.join("; ");
        if let Some(since) = self.drifted.as_deref().filter(|_| !drift.is_empty()) {
            drift += &format!(" (since {since})");
        }
        vec![
            self.id.clone(),
            self.user.clone(),
            self.machine_type.clone(),
            or_dash(self.last_seen.as_deref().unwrap_or_default()),
            or_dash(&self.address),
            or_dash(&drift),
        ]
    }
}
