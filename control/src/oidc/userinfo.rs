//! What the issuer says of people at its userinfo endpoint, remembered for a
//! while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::{Claims, Client, refused};
use crate::{Error, Result};

/// For how long an answer counts.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How many answers are remembered.
const MOST_REMEMBERED: usize = 1_000;

/// The endpoint and what it has answered.
#[derive(Debug)]
pub(super) struct Userinfo {
    client: Arc<Client>,
    /// By the hash of the ID token that an answer goes with.
    answers: Mutex<HashMap<Vec<u8>, (Instant, Claims)>>,
}

impl Userinfo {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            answers: Mutex::default(),
        }
    }

    /// Adds to the claims of an ID token what the issuer says with the access
    /// token that goes with it.
    pub(super) async fn add(
        &self,
        claims: &mut Claims,
        id_token: &str,
        access_token: &str,
    ) -> Result<()> {
        let key = digest(&SHA256, id_token.as_bytes()).as_ref().to_vec();
        let more = match self.remembered(&key) {
            Some(more) => more,
            None => {
                let asked = self.client.userinfo(access_token).await;
                let Some(more) = asked.map_err(Error::Issuer)? else {
                    return Ok(());
                };
                self.remember(key, more.clone());
                more
            }
        };
        match claims.add(&more) {
            true => Ok(()),
            false => Err(refused("the access token with it is of another person")),
        }
    }

    fn remembered(&self, key: &[u8]) -> Option<Claims> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, claims) = answers.get(key)?;
        (at.elapsed() < LIFETIME).then(|| claims.clone())
    }

    fn remember(&self, key: Vec<u8>, claims: Claims) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_REMEMBERED {
            answers.retain(|_, (at, _)| at.elapsed() < LIFETIME);
        }
        if answers.len() < MOST_REMEMBERED {
            answers.insert(key, (Instant::now(), claims));
        }
    }
}
