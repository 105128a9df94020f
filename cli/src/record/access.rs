//! Who administers MetaHub, as programs and people read it.

use std::{fmt, time::SystemTime};

use humantime::format_rfc3339_seconds;
use serde::{Serialize, Serializer};

use crate::output::Row;

/// What one may do in the admin API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Change what belongs to one user.
    Owner,
    /// See everything but secrets, change nothing.
    #[default]
    Viewer,
}

/// An admin token without its secret.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AdminToken {
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) grantable: Vec<String>,
    pub(crate) created_by: String,
    #[serde(serialize_with = "as_time")]
    pub(crate) created: Option<SystemTime>,
    #[serde(serialize_with = "as_time")]
    pub(crate) expires: Option<SystemTime>,
    #[serde(serialize_with = "as_time")]
    pub(crate) last_used: Option<SystemTime>,
}

/// Who calls, as the control plane knows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) grantable: Vec<String>,
    #[serde(serialize_with = "as_time")]
    pub(crate) expires: Option<SystemTime>,
}

impl AdminToken {
    /// The role and, for owners, of whom.
    pub(crate) fn whose(&self) -> String {
        self.role.of(&self.user)
    }
}

impl Role {
    /// The role and, for owners, of which user.
    pub(crate) fn of(self, user: &str) -> String {
        match user {
            "" => self.to_string(),
            user => format!("{self} of {user}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Viewer => "viewer",
        })
    }
}

impl Row for AdminToken {
    const COLUMNS: &'static [&'static str] = &[
        "TOKEN",
        "ROLE",
        "USER",
        "GRANTS",
        "EXPIRES",
        "LAST USED",
        "CREATED BY",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        vec![
            self.name.clone(),
            self.role.to_string(),
            or_dash(&self.user),
            or_dash(&self.grantable.join(" ")),
            self.expires.map_or_else(|| "never".into(), text),
            self.last_used.map_or_else(|| "not yet".into(), text),
            self.created_by.clone(),
        ]
    }
}

fn text(time: SystemTime) -> String {
    format_rfc3339_seconds(time).to_string()
}

fn as_time<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&format_rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}
