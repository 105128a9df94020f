//! Tokens that a worker gives to a client that has logged in: JSON Web Tokens
//! (RFC 7519), signed with Ed25519 (RFC 8037, `EdDSA`).
//!
//! A token says who a client is, and which repositories it wants to pull. What
//! it may pull of these is looked up at each request. It is good at every worker,
//! for as long as it says, and only while the login stands with the secret that
//! the token was given for.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq as _;

use super::Scope;
use crate::snapshot::{Login, SigningKey, Snapshot};

/// How long a token is good, in seconds.
pub(crate) const LIFETIME_SECS: u64 = 300;
/// How much the clocks of two workers may differ, in seconds.
const SKEW_SECS: u64 = 30;
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 << 10;
/// Whom tokens are for: MetaHub alone.
pub(crate) const AUDIENCE: &str = "metahub";
const ALGORITHM: &str = "EdDSA";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The name that the client logged in with, selectors included.
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    /// What the token is for.
    access: Scope,
    /// Stands for the login's secret.
    stamp: String,
}

/// What a token says, its signature verified.
#[derive(Debug)]
pub(super) struct Known {
    /// The name that the client logged in with, selectors included.
    pub(super) name: String,
    /// What it is for.
    pub(super) scope: Scope,
    /// When it is good, in seconds since 1970.
    nbf: u64,
    exp: u64,
    /// What it is signed with.
    key: Arc<SigningKey>,
    /// The secret that it was given for.
    secret_sha256: [u8; 32],
}

/// Gives a token for `scope` to `name`, which has logged in with the secret of
/// `login`. `None`: there is no key to sign with.
pub(super) fn give(
    snapshot: &Snapshot,
    (name, login): (&str, &Login<'_>),
    scope: Scope,
    now: u64,
) -> Option<String> {
    let key = current(snapshot, now)?;
    let header = Header {
        alg: ALGORITHM.into(),
        typ: "JWT".into(),
        kid: key.id.clone(),
    };
    let claims = Claims {
        iss: AUDIENCE.into(),
        aud: AUDIENCE.into(),
        sub: name.to_owned(),
        iat: now,
        nbf: now,
        exp: now + LIFETIME_SECS,
        access: scope,
        stamp: URL_SAFE_NO_PAD.encode(key.stamp(login.secret_sha256)),
    };
    let signed = format!("{}.{}", encode(&header)?, encode(&claims)?);
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
    Some(format!("{signed}.{signature}"))
}

/// What a token says. `None` unless it is signed with a key that stands, for
/// a login that stands with the secret that it was given for.
pub(super) fn read(snapshot: &Snapshot, token: &str) -> Option<Known> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = decode(header)?;
    let mut keys = snapshot.signing_keys().iter();
    let key = keys.find(|key| key.id == header.kid && header.alg == ALGORITHM)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !key.has_signed(signed.as_bytes(), &signature) {
        return None;
    }
    let claims: Claims = decode(claims)?;
    let login = snapshot.login(login(&claims.sub))?;
    let stamp = URL_SAFE_NO_PAD.decode(&claims.stamp).ok()?;
    let stands: bool = stamp.ct_eq(&key.stamp(login.secret_sha256)).into();
    (stands && claims.aud == AUDIENCE).then(|| Known {
        name: claims.sub,
        scope: claims.access,
        nbf: claims.nbf,
        exp: claims.exp,
        key: key.clone(),
        secret_sha256: *login.secret_sha256,
    })
}

impl Known {
    /// The login that it was given to, if it is good at `now`.
    pub(super) fn login<'a>(&self, snapshot: &'a Snapshot, now: u64) -> Option<Login<'a>> {
        let is_now = self.nbf <= now + SKEW_SECS && now < self.exp + SKEW_SECS;
        let mut keys = snapshot.signing_keys().iter();
        let is_signed = keys.any(|key| Arc::ptr_eq(key, &self.key));
        let login = snapshot.login(login(&self.name))?;
        (is_now && is_signed && *login.secret_sha256 == self.secret_sha256).then_some(login)
    }
}

/// The name of the login in a name with selectors.
pub(super) fn login(name: &str) -> &str {
    name.split_once('+').map_or(name, |(login, _)| login)
}

/// The newest key whose time has come. All workers know it by then.
fn current(snapshot: &Snapshot, now: u64) -> Option<&SigningKey> {
    let keys = snapshot.signing_keys();
    let begun = keys.iter().filter(|key| key.signs_from <= now + SKEW_SECS);
    let newest = begun.max_by_key(|key| key.signs_from);
    newest.or_else(|| keys.first()).map(|key| &**key)
}

fn encode(part: &impl Serialize) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).ok()?))
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{Record, sample::Sample};

    pub(in crate::auth) const NOW: u64 = 1_000_000;

    pub(in crate::auth) fn key(sample: Sample, id: &str, seed: u8, signs_from: u64) -> Sample {
        let key = SigningKey::new(id.into(), &[seed; 32], signs_from).unwrap();
        sample.with("signing-key", id, Record::SigningKey(Arc::new(key)))
    }

    fn policy(secret: &str) -> Sample {
        Sample::new().machine_type("type1", "{}", secret)
    }

    /// With one key.
    pub(in crate::auth) fn snapshot() -> Snapshot {
        key(policy("secret"), "a", 1, 0).build()
    }

    /// Policies after changes that end tokens: of the secret, the login, the key.
    pub(in crate::auth) fn changed() -> [Snapshot; 4] {
        [
            key(policy("another"), "a", 1, 0).build(),
            key(Sample::new(), "a", 1, 0).build(),
            key(policy("secret"), "b", 2, NOW).build(),
            key(policy("secret"), "a", 2, 0).build(),
        ]
    }

    pub(in crate::auth) fn token(snapshot: &Snapshot) -> String {
        let login = snapshot.login("qnib-type1").unwrap();
        let scope = Scope::asked(["repository:qnib/bench:pull"].into_iter());
        give(snapshot, ("qnib-type1+nvcap:8.0", &login), scope, NOW).unwrap()
    }

    /// The name that a token was given for, if it is good.
    fn name(snapshot: &Snapshot, token: &str, now: u64) -> Option<String> {
        let known = read(snapshot, token)?;
        known.login(snapshot, now)?;
        Some(known.name)
    }

    #[test]
    fn a_token_is_good_at_every_worker_for_five_minutes() {
        let token = token(&snapshot());

        for now in [NOW - SKEW_SECS, NOW, NOW + 299] {
            let name = name(&snapshot(), &token, now);
            assert_eq!(name.as_deref(), Some("qnib-type1+nvcap:8.0"));
        }
        for now in [0, NOW - SKEW_SECS - 1, NOW + 300 + SKEW_SECS] {
            assert_eq!(name(&snapshot(), &token, now), None);
        }
    }

    #[test]
    fn a_token_is_for_what_was_asked_for() {
        let known = read(&snapshot(), &token(&snapshot())).unwrap();

        assert!(known.scope.has("qnib/bench") && !known.scope.has("qnib/other"));
    }

    #[test]
    fn a_token_ends_with_its_login_its_secret_and_its_key() {
        let token = token(&snapshot());

        for changed in changed() {
            assert_eq!(name(&changed, &token, NOW), None);
        }
    }

    #[test]
    fn a_token_of_the_key_before_is_good_until_that_key_is_gone() {
        let token = token(&snapshot());

        let both = key(key(policy("secret"), "a", 1, 0), "b", 2, NOW).build();

        assert!(name(&both, &token, NOW).is_some());
    }

    #[test]
    fn a_key_is_used_when_its_time_has_come() {
        let both = key(key(policy("secret"), "a", 1, 0), "b", 2, NOW + 900).build();

        let kid = |now| current(&both, now).unwrap().id.clone();

        assert_eq!((kid(NOW), kid(NOW + 900)), ("a".into(), "b".into()));
    }

    #[test]
    fn a_token_that_is_not_signed_is_no_token() {
        let snapshot = snapshot();
        let good = token(&snapshot);
        let mut parts = good.split('.');
        let (_, claims) = (parts.next().unwrap(), parts.next().unwrap());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT","kid":"a"}"#);

        for token in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}"),
            good[..good.len() - 4].to_owned(),
            good.replacen('.', "..", 1),
            format!("{good}AAAA"),
            "..".into(),
            String::new(),
            "a".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(name(&snapshot, &token, NOW), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_token_is_no_token(at in 0usize..400, byte in "[ -~]") {
            let snapshot = snapshot();
            let good = token(&snapshot);
            let at = at % good.len();
            let mut changed = good.clone();
            changed.replace_range(at..=at, &byte);

            // The last character of a part may have bits that mean nothing.
            let same = URL_SAFE_NO_PAD.decode(changed.replace('.', "")).ok()
                == URL_SAFE_NO_PAD.decode(good.replace('.', "")).ok();
            prop_assert!(same || name(&snapshot, &changed, NOW).is_none());
        }

        #[test]
        fn any_text_is_read_without_harm(text in "[ -~]{0,200}|[A-Za-z0-9_-]{1,60}(\\.[A-Za-z0-9_-]{0,90}){0,3}") {
            prop_assert_eq!(name(&snapshot(), &text, NOW), None);
        }
    }
}
