//! An OpenID Connect issuer: keys that can be rotated, a device flow that a
//! test confirms, refresh tokens that can be revoked. It counts what it is
//! asked.

mod answers;
mod keys;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::keys::Algorithm;
use self::keys::SigningKey;
use crate::{tls_front::TlsFront, wait::eventually};

/// The client that it knows.
pub const CLIENT_ID: &str = "metahubctl";

/// An issuer that serves inside the test until it is dropped.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    state: Arc<Mutex<State>>,
    front: Option<TlsFront>,
    _stop: DropGuard,
}

/// What it remembers.
#[derive(Debug)]
struct State {
    url: String,
    /// The newest last: that one signs.
    keys: Vec<SigningKey>,
    /// What it was asked to answer with before anything else, by path.
    counts: BTreeMap<String, usize>,
    /// Sign-ins that have begun, by device code: who confirmed, if anyone.
    begun: BTreeMap<String, Option<Value>>,
    /// Who is behind each refresh token.
    refresh_tokens: BTreeMap<String, Value>,
    /// How long ID tokens of sign-ins are good.
    lifetime: Duration,
    /// What the token endpoint answers while it is in trouble.
    trouble: Option<u16>,
    /// Whether it names groups at its userinfo endpoint only.
    groups_apart: bool,
    /// The claims of each access token's person.
    access_tokens: BTreeMap<String, Value>,
    /// Numbers codes and tokens.
    next: usize,
}

impl Issuer {
    /// Starts one that signs with ES256.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let url = format!("http://{address}");
        let state = Arc::new(Mutex::new(State {
            url: url.clone(),
            keys: vec![SigningKey::new("key-1", Algorithm::Es256)],
            counts: BTreeMap::new(),
            begun: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            lifetime: Duration::from_secs(300),
            trouble: None,
            groups_apart: false,
            access_tokens: BTreeMap::new(),
            next: 0,
        }));
        let stop = CancellationToken::new();
        tokio::spawn(answers::serve(listener, state.clone(), stop.clone()));
        Self {
            url,
            state,
            front: None,
            _stop: stop.drop_guard(),
        }
    }

    /// Starts one behind TLS, for which an authority vouches that no system
    /// trusts.
    pub async fn start_private() -> Self {
        let issuer = Self::start().await;
        let address = issuer.url.trim_start_matches("http://").parse();
        let front = TlsFront::before(address.expect("an address")).await;
        issuer.state().url = front.url();
        Self {
            url: front.url(),
            front: Some(front),
            ..issuer
        }
    }

    /// The certificate of the authority that vouches for it, as PEM.
    pub fn ca_pem(&self) -> String {
        self.front.as_ref().expect("it has TLS").ca_pem()
    }

    /// Its URL, which is its name in tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The flags of a control plane that people sign in at with it.
    pub fn flags(&self, roles: &[&str]) -> Vec<String> {
        let settings = [
            format!("--oidc-issuer={}", self.url),
            format!("--oidc-client-id={CLIENT_ID}"),
        ];
        let roles = roles.iter().map(|role| format!("--oidc-role={role}"));
        settings.into_iter().chain(roles).collect()
    }

    /// An ID token with these claims over those that make a good one. A `null`
    /// takes a claim away.
    pub fn id_token(&self, claims: Value) -> String {
        let state = self.state();
        state.id_token(&claims)
    }

    /// An ID token that says it is signed in another way: with the key's public
    /// half as a shared secret, or not at all.
    pub fn forged(&self, algorithm: &str, claims: Value) -> String {
        let state = self.state();
        let claims = state.claims(&claims);
        state.key().forged(algorithm, &claims)
    }

    /// An ID token that a key of someone else has signed, under the name `kid`.
    pub fn signed_by_a_stranger(&self, kid: &str, claims: Value) -> String {
        let claims = self.state().claims(&claims);
        SigningKey::new(kid, Algorithm::Es256).signed(&claims)
    }

    /// Signs with a new key from now on, and forgets those before.
    pub fn rotate(&self, kid: &str, algorithm: Algorithm) {
        self.state().keys = vec![SigningKey::new(kid, algorithm)];
    }

    /// How long ID tokens of sign-ins are good from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// The token endpoint answers with this status from now on, or as it should.
    pub fn set_trouble(&self, status: Option<u16>) {
        self.state().trouble = status;
    }

    /// Names groups at the userinfo endpoint only, from now on.
    pub fn set_groups_apart(&self) {
        self.state().groups_apart = true;
    }

    /// Waits for a sign-in to begin, and confirms it as a person with these
    /// claims.
    pub async fn confirm(&self, claims: Value) {
        eventually("a sign-in begins", async || {
            let mut state = self.state();
            let open = state.begun.values_mut().find(|it| it.is_none());
            match open {
                Some(open) => {
                    *open = Some(claims.clone());
                    true
                }
                None => false,
            }
        })
        .await;
    }

    /// Takes every refresh token back.
    pub fn revoke_all(&self) {
        self.state().refresh_tokens.clear();
    }

    /// How many refresh tokens are good.
    pub fn refresh_tokens(&self) -> usize {
        self.state().refresh_tokens.len()
    }

    /// How often it was asked for `path`.
    pub fn asked_for(&self, path: &str) -> usize {
        self.state().counts.get(path).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn key(&self) -> &SigningKey {
        self.keys.last().expect("there is a key")
    }

    fn id_token(&self, claims: &Value) -> String {
        self.key().signed(&self.claims(claims))
    }

    fn claims(&self, over: &Value) -> Value {
        let now = unix_secs();
        let mut claims = json!({
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": "person-1",
            "iat": now,
            "exp": now + self.lifetime.as_secs(),
        });
        let all = claims.as_object_mut().expect("an object");
        for (name, value) in over.as_object().into_iter().flatten() {
            match value {
                Value::Null => all.remove(name),
                value => all.insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
}

/// Seconds since 1970.
pub fn unix_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is right").as_secs()
}
