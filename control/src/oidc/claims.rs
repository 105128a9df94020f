//! What an ID token says of a person.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The claim that counts only beside `email_verified`.
pub(super) const EMAIL: &str = "email";
/// A longer name is cut.
const LONGEST_NAME: usize = 128;
/// How many claims are named to people.
const MOST_NAMES: usize = 40;

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
        let email = || self.text(EMAIL).filter(|_| self.has_verified_email());
        let known = self.text("preferred_username").or_else(email);
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

    /// Whether it was given to this client: `azp` names it. One for several
    /// audiences has an `azp` (OpenID Connect Core, section 3.1.3.7).
    pub(super) fn is_for(&self, client_id: &str) -> bool {
        let audiences = self.0.get("aud").and_then(Value::as_array);
        match self.0.get("azp") {
            Some(client) => client == client_id,
            None => audiences.is_none_or(|all| all.len() < 2),
        }
    }

    /// Whether it is no token of another kind that the issuer signs with the same
    /// keys: Keycloak tells access and refresh tokens by `typ`, Cognito by
    /// `token_use`, and a logout token has `events`.
    pub(super) fn are_of_an_id_token(&self) -> bool {
        let fits = |claim: &str| match self.0.get(claim) {
            Some(Value::String(kind)) => kind.eq_ignore_ascii_case("id"),
            other => other.is_none(),
        };
        fits("typ") && fits("token_use") && !self.0.contains_key("events")
    }

    /// Whether the issuer says that the address is the person's own. One that
    /// anyone can type in gives no role.
    pub(super) fn has_verified_email(&self) -> bool {
        let verified = self.0.get("email_verified");
        // Some issuers have all claims as texts.
        verified.is_some_and(|it| *it == true || *it == "true")
    }

    /// The texts of a claim: of the whole name, or of the way with dots.
    pub(super) fn values(&self, claim: &str) -> Vec<String> {
        if claim == EMAIL && !self.has_verified_email() {
            return Vec::new();
        }
        let found = self.0.get(claim).or_else(|| self.at(claim));
        match found {
            Some(Value::Array(values)) => values.iter().filter_map(plain).collect(),
            Some(value) => plain(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The names of all, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.0.keys().take(MOST_NAMES).map(String::as_str).collect();
        let names = names.join(", ");
        names.chars().filter(|c| !c.is_control()).collect()
    }

    /// Adds those that are not there yet, if they are of the same person.
    pub(super) fn add(&mut self, others: &Self) -> bool {
        if self.text("sub") != others.text("sub") {
            return false;
        }
        for (name, value) in &others.0 {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), value.clone());
            }
        }
        true
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

/// A claim's value as the text that rules compare with.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
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
    fn a_claim_may_be_a_boolean_or_a_number() {
        let claims = claims(json!({"is_admin": true, "level": 3, "groups": ["a", 7, null]}));

        assert_eq!(claims.values("is_admin"), ["true"]);
        assert_eq!(claims.values("level"), ["3"]);
        assert_eq!(claims.values("groups"), ["a", "7"]);
    }

    #[test]
    fn what_is_added_is_of_the_same_person_and_replaces_nothing() {
        let mut own = claims(json!({"sub": "1", "groups": ["a"]}));

        assert!(!own.add(&claims(json!({"sub": "2", "roles": ["admin"]}))));
        assert!(own.add(&claims(
            json!({"sub": "1", "groups": ["b"], "roles": ["c"]})
        )));

        assert_eq!(own.values("groups"), ["a"]);
        assert_eq!(own.values("roles"), ["c"]);
    }

    #[test]
    fn a_name_tells_the_subject_whatever_else_the_person_chose() {
        let named = claims(json!({"sub": "42", "preferred_username": "bootstrap\n"}));
        let unnamed = claims(json!({"sub": "42"}));

        assert_eq!(named.name(), "oidc:bootstrap? (42)");
        assert_eq!(unnamed.name(), "oidc:42");
        let typed_in = json!({"sub": "42", "email": "boss@example.com"});
        assert_eq!(claims(typed_in).name(), "oidc:42");
    }

    #[test]
    fn tokens_of_other_kinds_are_told_apart() {
        let is_id_token = |extra: &str, value: Value| {
            claims(json!({"sub": "42", extra: value})).are_of_an_id_token()
        };

        assert!(is_id_token("typ", json!("ID")) && is_id_token("token_use", json!("id")));
        for (claim, kind) in [
            ("typ", json!("Bearer")),
            ("typ", json!("Refresh")),
            ("typ", json!(["ID"])),
            ("token_use", json!("access")),
            (
                "events",
                json!({"http://schemas.openid.net/event/backchannel-logout": {}}),
            ),
        ] {
            assert!(!is_id_token(claim, kind.clone()), "{claim}: {kind}");
        }
    }

    #[test]
    fn a_token_of_several_audiences_says_whose_it_is() {
        let is_ours = |aud: Value, azp: Value| claims(json!({"aud": aud, "azp": azp})).is_for("us");
        let unsaid = |aud: Value| claims(json!({"aud": aud})).is_for("us");

        assert!(is_ours(json!(["us", "api"]), json!("us")) && unsaid(json!(["us"])));
        assert!(unsaid(json!("us")));
        assert!(!unsaid(json!(["us", "api"])));
        for azp in [json!("api"), json!(""), json!(["us"]), Value::Null] {
            assert!(!is_ours(json!("us"), azp.clone()), "{azp}");
        }
    }
}
