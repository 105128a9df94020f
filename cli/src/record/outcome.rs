//! What a declared policy, or a rollback, has changed or would change.

use serde::Serialize;
use serde_json::Value;

use super::{NewLogin, Revision};
use crate::{change::Difference, output::Row};

/// What was changed, or would be.
#[derive(Serialize)]
pub(crate) struct Outcome {
    /// One that holds the changes.
    pub(crate) revision: Option<Revision>,
    pub(crate) changes: Vec<Changed>,
    /// The logins that got a new secret, which is shown once.
    pub(crate) new_logins: Vec<NewLogin>,
    pub(crate) warnings: Vec<String>,
}

/// A changed record, with `***` for secrets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) key: String,
    /// `None`: it is new.
    pub(crate) before: Option<Value>,
    /// `None`: it is gone.
    pub(crate) after: Option<Value>,
}

impl Outcome {
    /// The changes, a line each.
    pub(crate) fn lines(&self) -> String {
        let lines = self.changes.iter().map(Changed::line);
        lines.map(|line| line + "\n").collect()
    }

    /// What is deleted.
    pub(crate) fn deleted(&self) -> impl Iterator<Item = &Changed> {
        self.changes.iter().filter(|it| it.after.is_none())
    }

    /// How much is added, changed and deleted, in words.
    pub(crate) fn counts(&self) -> String {
        let added = self.changes.iter().filter(|it| it.before.is_none()).count();
        let deleted = self.deleted().count();
        let changed = self.changes.len() - added - deleted;
        format!("{added} added, {changed} changed, {deleted} deleted")
    }
}

impl Changed {
    fn line(&self) -> String {
        match Difference::of(self.before.as_ref(), self.after.as_ref()) {
            Difference::Added => format!("+ {}", self.key),
            Difference::Deleted => format!("- {}", self.key),
            changed => format!("~ {}  {changed}", self.key),
        }
    }
}

impl Row for NewLogin {
    const COLUMNS: &'static [&'static str] = &["LOGIN", "SECRET"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.secret.clone()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_is_a_line_that_says_what_becomes_of_the_record() {
        let changed = |key: &str, before: Value, after: Value| Changed {
            key: key.into(),
            before: Some(before).filter(|it| !it.is_null()),
            after: Some(after).filter(|it| !it.is_null()),
        };
        let outcome = Outcome {
            revision: None,
            changes: vec![
                changed("user/a", Value::Null, json!({})),
                changed("rule/r", json!({"tag": "1"}), json!({"tag": "2"})),
                changed("login/a-b", json!({"s": "***"}), json!({"s": "***"})),
                changed("pin/a/b/c", json!({}), Value::Null),
            ],
            new_logins: Vec::new(),
            warnings: Vec::new(),
        };

        assert_eq!(
            outcome.lines(),
            "+ user/a\n~ rule/r  tag: \"1\" -> \"2\"\n~ login/a-b  secret replaced\n- pin/a/b/c\n"
        );
        assert_eq!(outcome.counts(), "1 added, 2 changed, 1 deleted");
    }
}
