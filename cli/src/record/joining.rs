//! Join tokens, as they are printed.

use serde::Serialize;

use crate::output::Row;

/// What admits workers that have no certificate yet.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JoinToken {
    pub(crate) name: String,
    /// `None`: any number.
    pub(crate) uses_left: Option<u32>,
    /// RFC 3339. `None`: it does not expire.
    pub(crate) expires: Option<String>,
}

/// A join token that was made just now.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewJoinToken {
    #[serde(flatten)]
    pub(crate) token: JoinToken,
    pub(crate) secret: String,
}

impl Row for JoinToken {
    const COLUMNS: &'static [&'static str] = &["JOIN TOKEN", "USES LEFT", "EXPIRES"];

    fn cells(&self) -> Vec<String> {
        let uses = self.uses_left.map(|uses| uses.to_string());
        vec![
            self.name.clone(),
            uses.unwrap_or_else(|| "any".into()),
            self.expires.clone().unwrap_or_else(|| "never".into()),
        ]
    }
}
