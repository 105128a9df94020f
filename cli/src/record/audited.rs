//! A change of the policy, as the audit has it.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use serde::Serialize;
use serde_json::Value;

use super::as_time;
use crate::{change::Difference, output::Row};

/// One changed record. The changes of one revision were made together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Audited {
    pub(crate) revision: u64,
    #[serde(serialize_with = "as_time")]
    pub(crate) time: SystemTime,
    /// Whose token it was, or which task of the control plane.
    pub(crate) actor: String,
    /// `None`: the control plane did it on its own.
    pub(crate) from: Option<String>,
    pub(crate) action: String,
    pub(crate) key: String,
    /// With `***` for secrets. `None`: it was new.
    pub(crate) before: Option<Value>,
    /// With `***` for secrets. `None`: it is gone.
    pub(crate) after: Option<Value>,
}

/// A revision, and what it was made for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HistoryEntry {
    pub(crate) revision: u64,
    #[serde(serialize_with = "as_time")]
    pub(crate) time: SystemTime,
    pub(crate) actor: String,
    pub(crate) from: Option<String>,
    pub(crate) action: String,
    /// What was changed.
    pub(crate) keys: Vec<String>,
}

impl HistoryEntry {
    /// Takes the changes of each revision together.
    pub(crate) fn add(entries: &mut Vec<Self>, change: Audited) {
        match entries.last_mut() {
            Some(entry) if entry.revision == change.revision => entry.keys.push(change.key),
            _ => entries.push(Self {
                revision: change.revision,
                time: change.time,
                actor: change.actor,
                from: change.from,
                action: change.action,
                keys: vec![change.key],
            }),
        }
    }
}

impl Row for HistoryEntry {
    const COLUMNS: &'static [&'static str] = &["REVISION", "TIME", "WHO", "FROM", "ACTION", "WHAT"];

    fn cells(&self) -> Vec<String> {
        let first = self.keys.first().map_or("", String::as_str);
        let what = match self.keys.len() {
            0 | 1 => first.to_owned(),
            count => format!("{first} and {} more", count - 1),
        };
        vec![
            self.revision.to_string(),
            format_rfc3339_seconds(self.time).to_string(),
            self.actor.clone(),
            self.from.clone().unwrap_or_else(|| "-".into()),
            self.action.clone(),
            what,
        ]
    }
}

impl Audited {
    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let from = self.from.as_ref();
        let from = from.map(|from| format!(" at {from}")).unwrap_or_default();
        let difference = Difference::of(self.before.as_ref(), self.after.as_ref());
        format!(
            "{}  {}  {}{from}  {}  {}  {difference}",
            format_rfc3339_seconds(self.time),
            self.revision,
            self.actor,
            self.action,
            self.key,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_who_did_what_to_which_field() {
        let audited = Audited {
            revision: 12,
            time: UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            actor: "admin".into(),
            from: Some("10.0.0.7".into()),
            action: "type.update".into(),
            key: "type/qnib/type1".into(),
            before: Some(json!({"spec": {"os": "linux", "features": ["avx"]}})),
            after: Some(json!({"spec": {"os": "linux", "features": ["avx2"]}})),
        };

        assert_eq!(
            audited.line(),
            "2001-09-09T01:46:40Z  12  admin at 10.0.0.7  type.update  type/qnib/type1  spec.features: [\"avx\"] -> [\"avx2\"]"
        );
    }
}
