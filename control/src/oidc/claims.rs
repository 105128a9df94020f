//! What an ID token says of a person.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A longer name is cut.
const LONGEST_NAME: usize = 128;

/// The claims of a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// The person's name for the audit: the issuer's stable name for them and,
    /// if there is one, the name that people know. No admin token's name has a
    /// `:`.
    pub(super) fn name(&self) -> String {
        let subject = self.text("sub").unwrap_or_default();
        let known = self
            .text("preferred_username")
            .or_else(|| self.text("email"));
        let name = match known {
            Some(known) if known != subject => format!("oidc:{known} ({subject})"),
            _ => format!("oidc:{subject}"),
        };
        let printable = name.chars().map(|c| if c.is_control() { '?' } else { c });
        printable.take(LONGEST_NAME).collect()
    }

    /// When it ends, in seconds since 1970.
    pub(super) fn expires(&self) -> Option<u64> {
        self.0.get("exp")?.as_f64().map(|secs| secs as u64)
    }

    /// Whether it was given to this client, as far as it says that.
    pub(super) fn is_for(&self, client_id: &str) -> bool {
        self.text("azp").is_none_or(|client| client == client_id)
    }

    /// The texts of a claim: of the whole name, or of the way with dots.
    pub(super) fn values(&self, claim: &str) -> Vec<&str> {
        let found = self.0.get(claim).or_else(|| self.at(claim));
        match found {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn at(&self, way: &str) -> Option<&Value> {
        let (first, rest) = way.split_once('.')?;
        let mut parts = rest.split('.');
        parts.try_fold(self.0.get(first)?, |value, part| value.get(part))
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str().filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_name_tells_the_subject_whatever_else_the_person_chose() {
        let named = claims(json!({"sub": "42", "preferred_username": "bootstrap\n"}));
        let unnamed = claims(json!({"sub": "42"}));

        assert_eq!(named.name(), "oidc:bootstrap? (42)");
        assert_eq!(unnamed.name(), "oidc:42");
    }
}
