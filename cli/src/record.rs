//! The records that metahubctl prints, as programs read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::{format_duration, format_rfc3339_seconds};
use metahub_policy::{Cpu, Rule};
use serde::{Serialize, Serializer};

use crate::output::Row;

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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) default: bool,
    pub(crate) username: String,
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
    pub(crate) kept: Vec<String>,
    #[serde(serialize_with = "as_time")]
    pub(crate) last_used: SystemTime,
}

/// A place in the history of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
}

/// The time that is `seconds` after the start of 1970.
pub(crate) fn from_unix(seconds: u64) -> SystemTime {
    // Year 9999: what RFC 3339 can write.
    UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

fn as_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_rfc3339_seconds(*time))
}

/// How long ago `time` was, in whole seconds.
fn age(time: SystemTime) -> String {
    let age = SystemTime::now().duration_since(time).unwrap_or_default();
    format_duration(Duration::from_secs(age.as_secs())).to_string()
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.into()
}

fn words(texts: &[String]) -> String {
    or_dash(&texts.join(" "))
}

impl Revision {
    /// The revision's number, or a dash where there is none.
    pub(crate) fn text(revision: Option<Self>) -> String {
        revision.map_or_else(|| "-".into(), |revision| revision.number.to_string())
    }
}

impl Row for User {
    const COLUMNS: &'static [&'static str] = &["USER"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

impl Row for MachineType {
    const COLUMNS: &'static [&'static str] = &["USER", "TYPE", "PLATFORM", "FEATURES"];

    fn cells(&self) -> Vec<String> {
        let platform = [Some(&self.shape.os), self.shape.architecture.as_ref()];
        let platform: Vec<_> = platform
            .into_iter()
            .chain([self.shape.variant.as_ref()])
            .flatten()
            .map(String::as_str)
            .collect();
        vec![
            self.user.clone(),
            self.name.clone(),
            platform.join("/"),
            words(&self.shape.features),
        ]
    }
}

impl Row for Login {
    const COLUMNS: &'static [&'static str] = &["LOGIN", "USER", "TYPE", "SELECTORS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.user.clone(),
            self.machine_type.clone(),
            yes(self.allow_selectors),
        ]
    }
}

impl Row for Upstream {
    const COLUMNS: &'static [&'static str] = &["UPSTREAM", "URL", "DEFAULT", "USERNAME"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.url.clone(),
            yes(self.default),
            or_dash(&self.username),
        ]
    }
}

impl Row for Rule {
    const COLUMNS: &'static [&'static str] = &["RULE", "REPOSITORY", "TAG", "MATCH", "REQUIRES"];

    fn cells(&self) -> Vec<String> {
        let matches = &self.matches;
        let conditions: Vec<_> = [
            ("os", &matches.os),
            ("architecture", &matches.architecture),
            ("variant", &matches.variant),
            ("os.version", &matches.os_version),
            ("digest", &matches.digest),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
        .collect();
        vec![
            self.name.clone(),
            or_dash(&self.repository),
            or_dash(&self.tag),
            or_dash(&conditions.join(",")),
            words(&self.requires),
        ]
    }
}

impl Row for Pin {
    const COLUMNS: &'static [&'static str] = &["USER", "TYPE", "REPOSITORY", "DIGEST"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            self.machine_type.clone(),
            self.repository.clone(),
            self.digest.clone(),
        ]
    }
}

impl Row for Cpu {
    const COLUMNS: &'static [&'static str] = &["CPU", "PARENTS", "FEATURES", "ALIASES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            words(&self.parents),
            words(&self.features),
            words(&self.aliases),
        ]
    }
}

impl Row for Recipe {
    const COLUMNS: &'static [&'static str] =
        &["DIGEST", "REPOSITORY", "SOURCE", "KEPT", "LAST USED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.digest.clone(),
            format!("{}/{}", self.upstream, self.repository),
            self.source_digest.clone(),
            self.kept.len().to_string(),
            format!("{} ago", age(self.last_used)),
        ]
    }
}

impl Row for Worker {
    const COLUMNS: &'static [&'static str] = &[
        "WORKER", "REGISTRY", "STATE", "FOR", "REVISION", "LAG", "VERSION",
    ];

    fn cells(&self) -> Vec<String> {
        let state = match (self.connected, self.rejected_reason.as_str()) {
            (false, _) => "lost".into(),
            (true, "") => "connected".into(),
            (true, reason) => format!("rejected: {reason}"),
        };
        vec![
            self.id.clone(),
            or_dash(&self.registry_address),
            state,
            age(self.since),
            Revision::text(self.applied),
            format!("{} ms", self.lag_ms),
            self.version.clone(),
        ]
    }
}
