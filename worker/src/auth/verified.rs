//! Tokens that were found good, so that a token's signature is checked once and
//! not at each request.
//!
//! What may change is looked at each time all the same: the clock, the login,
//! its secret, and the keys.

use std::{mem::size_of, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};

use super::token::{self, Known};
use crate::{
    cache::Cache,
    snapshot::{Login, Snapshot},
};

/// What the remembered tokens may weigh, in bytes: some ten thousand of them.
const CAPACITY: u64 = 4 << 20;

/// Good tokens by their SHA-256, bounded in bytes.
#[derive(Debug)]
pub(super) struct Verified(Cache<[u8; 32], Arc<Known>>);

impl Verified {
    /// Who has been given `token`, and their login. `None` unless it is good now.
    pub(super) fn find<'a>(
        &self,
        snapshot: &'a Snapshot,
        token: &str,
        now: u64,
    ) -> Option<(Arc<Known>, Login<'a>)> {
        let key = digest(&SHA256, token.as_bytes());
        let key: [u8; 32] = key.as_ref().try_into().ok()?;
        if let Some(known) = self.0.get(&key)
            && let Some(login) = known.login(snapshot, now)
        {
            return Some((known, login));
        }
        let known = Arc::new(token::read(snapshot, token)?);
        let login = known.login(snapshot, now)?;
        self.0.insert(key, known.clone());
        Some((known, login))
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self(Cache::new(CAPACITY, |_, known| {
            size_of::<Known>() + 64 + known.name.len() + known.scope.weight()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::token::tests as tokens, *};

    /// Remembers what `good` is for under `token`, as if it had been verified.
    fn remember(verified: &Verified, snapshot: &Snapshot, token: &str, good: &str) {
        let key = digest(&SHA256, token.as_bytes());
        let known = token::read(snapshot, good).unwrap();
        verified
            .0
            .insert(key.as_ref().try_into().unwrap(), Arc::new(known));
    }

    #[test]
    fn a_token_that_was_good_once_is_not_verified_again() {
        let (verified, snapshot) = (Verified::default(), tokens::snapshot());
        let good = tokens::token(&snapshot);

        remember(&verified, &snapshot, "not signed", &good);

        assert!(
            verified
                .find(&snapshot, "not signed", tokens::NOW)
                .is_some()
        );
        assert!(verified.find(&snapshot, "another", tokens::NOW).is_none());
    }

    #[test]
    fn a_token_that_is_remembered_ends_when_it_should() {
        let snapshot = tokens::snapshot();
        let good = tokens::token(&snapshot);
        let verified = Verified::default();
        assert!(verified.find(&snapshot, &good, tokens::NOW).is_some());

        let later = tokens::NOW + token::LIFETIME_SECS + 60;

        assert!(verified.find(&snapshot, &good, later).is_none());
        for changed in tokens::changed() {
            assert!(verified.find(&changed, &good, tokens::NOW).is_none());
        }
        assert!(verified.find(&snapshot, &good, tokens::NOW).is_some());
    }

    #[test]
    fn what_is_no_token_is_not_remembered() {
        let (verified, snapshot) = (Verified::default(), tokens::snapshot());

        assert!(verified.find(&snapshot, "a.b.c", tokens::NOW).is_none());

        assert_eq!(verified.0.weight(), 0);
    }
}
