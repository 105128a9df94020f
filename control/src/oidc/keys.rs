//! The issuer's keys, kept and fetched again when that can help.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse},
};
use tokio::sync::Semaphore;
use tracing::warn;

use super::{IssuerError, issuer::Client, refused};
use crate::{Error, Result};

/// Older keys are fetched again, so that one that the issuer gave up is not
/// good for ever.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How often a key that is not known, or an issuer that does not answer, can
/// cause a fetch: anyone can make up a key's name.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// A key that tokens are checked with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    /// What it is for, if the issuer says.
    pub(super) algorithm: Option<Algorithm>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct KeyRing {
    client: Arc<Client>,
    held: Mutex<Held>,
    /// One fetch at a time.
    turn: Semaphore,
}

#[derive(Clone, Debug, Default)]
struct Held {
    keys: Arc<HashMap<String, Key>>,
    fetched: Option<Instant>,
    /// The last fetch that an unknown key or a failure was the cause of.
    tried: Option<Instant>,
}

impl KeyRing {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            held: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }

    /// The key with this name. Without one: the only key that there is.
    pub(super) async fn find(&self, kid: Option<&str>) -> Result<Key> {
        let held = self.held().clone();
        if let Some(key) = held.find(kid).filter(|_| held.is_fresh()) {
            return Ok(key);
        }
        let _turn = self.turn.acquire().await.map_err(|_| Error::Stopping)?;
        let refreshed = self.refresh(kid).await;
        let key = self.held().find(kid);
        match (key, refreshed) {
            (Some(key), _) => Ok(key),
            (None, Err(source)) if self.held().fetched.is_none() => Err(Error::Issuer(source)),
            (None, _) => Err(refused("the issuer does not know its key")),
        }
    }

    /// Fetches the keys if that can help and was not tried just now.
    async fn refresh(&self, kid: Option<&str>) -> Result<(), IssuerError> {
        let held = self.held().clone();
        if held.is_fresh() && held.find(kid).is_some() {
            return Ok(());
        }
        if held.tried.is_some_and(|at| at.elapsed() < BETWEEN_TRIES) {
            return Err(IssuerError::TooOften);
        }
        let is_forced = held.is_fresh();
        match self.client.keys().await {
            Ok(found) => {
                let mut held = self.held();
                held.keys = Arc::new(found.iter().filter_map(usable).collect());
                held.fetched = Some(Instant::now());
                held.tried = is_forced.then(Instant::now);
                Ok(())
            }
            Err(error) => {
                warn!("cannot fetch the issuer's keys: {error}");
                self.held().tried = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// Whole even after a panic: each change is a few plain assignments.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_fresh(&self) -> bool {
        self.fetched.is_some_and(|at| at.elapsed() < LIFETIME)
    }

    fn find(&self, kid: Option<&str>) -> Option<Key> {
        match kid {
            Some(kid) => self.keys.get(kid).cloned(),
            None if self.keys.len() == 1 => self.keys.values().next().cloned(),
            None => None,
        }
    }
}

/// A key that can check signatures, under its name. Nothing else is a key: not
/// a shared secret, not one for encryption.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match common.key_algorithm {
        None => None,
        Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(_) => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let name = common.key_id.clone().unwrap_or_default();
    Some((name, Key { key, algorithm }))
}
