//! The cache of manifests: by digest for days, by tag for seconds.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use papaya::Equivalent;

use super::{Error, Site, Source, Stale, Upstream, wire::Wire};
use crate::{
    cache::Cache,
    purge::PurgeScope,
    reference::{Reference, Repository},
};

/// What an entry weighs besides its bytes, in bytes.
const ENTRY_WEIGHT: usize = 512;

/// The manifests of all upstreams that are in memory.
#[derive(Debug)]
pub(crate) struct Shelf {
    kept: Cache<Key, Kept>,
    wire: Arc<Wire>,
}

/// A reference within a repository, as seen with one credential: one
/// repository's content is never an answer about another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) site: Site,
    pub(crate) repository: Repository,
    pub(crate) reference: Reference,
}

/// A [`Key`] to look up with.
#[derive(Clone, Copy, Hash)]
pub(crate) struct KeyRef<'a> {
    site: Site,
    repository: &'a Repository,
    reference: &'a Reference,
}

/// What is known about a reference.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) outcome: Result<Arc<Source>, Error>,
    /// When the upstream last said so.
    confirmed: Instant,
    /// When to ask again.
    until: Instant,
}

impl Shelf {
    pub(crate) fn new(wire: Arc<Wire>) -> Self {
        Self {
            kept: Cache::new(wire.settings.cache_bytes, weigh),
            wire,
        }
    }

    /// A manifest that need not be asked for. Takes no lock and allocates
    /// nothing.
    pub(crate) fn fresh(&self, key: &KeyRef<'_>) -> Option<Arc<Source>> {
        self.kept.read(key, |kept| {
            let source = kept.outcome.as_ref().ok()?;
            self.is_fresh(kept).then(|| Arc::clone(source))
        })?
    }

    /// What is known about `key`, fresh or not.
    pub(crate) fn get(&self, key: &Key) -> Option<Kept> {
        self.kept.get(key)
    }

    /// Whether `kept` need not be asked for.
    pub(crate) fn is_fresh(&self, kept: &Kept) -> bool {
        self.now() < kept.until
    }

    /// Keeps a manifest that has just come.
    pub(crate) fn keep(&self, key: &Key, source: Arc<Source>) -> Arc<Source> {
        let by_digest = Key {
            reference: Reference::Digest(source.digest.clone()),
            ..key.clone()
        };
        let kept = self.confirm(by_digest, source);
        match key.reference {
            Reference::Digest(_) => kept,
            Reference::Tag(_) => self.confirm(key.clone(), kept),
        }
    }

    /// Keeps what the upstream has just said about a tag or a digest.
    pub(crate) fn confirm(&self, key: Key, source: Arc<Source>) -> Arc<Source> {
        let source = if source.stale.is_some() {
            Arc::new(source.with_stale(None))
        } else {
            source
        };
        let until = self.jittered(match key.reference {
            Reference::Tag(_) => self.wire.settings.tag_ttl,
            Reference::Digest(_) => self.wire.settings.digest_ttl,
        });
        self.insert(key, Ok(Arc::clone(&source)), until);
        source
    }

    /// Keeps what a tag meant, since its upstream cannot be asked now.
    pub(crate) fn keep_stale(
        &self,
        key: Key,
        old: &Kept,
        why: Error,
    ) -> Result<Arc<Source>, Error> {
        let source = old.outcome.as_ref().map_err(Clone::clone)?;
        let stale = Stale {
            confirmed: old.confirmed,
            why,
        };
        let source = Arc::new(source.with_stale(Some(stale)));
        let kept = Kept {
            outcome: Ok(Arc::clone(&source)),
            confirmed: old.confirmed,
            until: self.jittered(self.wire.settings.tag_ttl),
        };
        self.kept.insert(key, kept);
        Ok(source)
    }

    /// Remembers for a moment that there is nothing to be had.
    pub(crate) fn keep_failure(&self, key: Key, error: Error) {
        let settings = &self.wire.settings;
        let ttl = settings.not_found_ttl.min(settings.tag_ttl);
        self.insert(key, Err(error), self.now() + ttl);
    }

    /// Drops what `scope` covers.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.kept.remove_all(|key, kept| {
            let source = kept.outcome.as_ref().ok().map(|source| &source.digest);
            let named = match &key.reference {
                Reference::Digest(digest) => Some(digest),
                Reference::Tag(_) => None,
            };
            scope.covers(key.site, &key.repository, source.into_iter().chain(named))
        });
    }

    fn insert(&self, key: Key, outcome: Result<Arc<Source>, Error>, until: Instant) {
        let kept = Kept {
            outcome,
            confirmed: self.now(),
            until,
        };
        self.kept.insert(key, kept);
        let weight = i64::try_from(self.kept.weight()).unwrap_or(i64::MAX);
        self.wire.metrics.cached_bytes.set(weight);
    }

    /// When `ttl` is over. What was asked for together need not be asked for
    /// again together.
    fn jittered(&self, ttl: Duration) -> Instant {
        self.now() + ttl.mul_f64(0.9 + fastrand::f64() / 5.0)
    }

    fn now(&self) -> Instant {
        self.wire.clock.now()
    }
}

impl Key {
    pub(crate) fn new(upstream: &Upstream, repository: &Repository, reference: &Reference) -> Self {
        Self {
            site: upstream.site(),
            repository: repository.clone(),
            reference: reference.clone(),
        }
    }
}

impl<'a> KeyRef<'a> {
    pub(crate) fn new(
        upstream: &Upstream,
        repository: &'a Repository,
        reference: &'a Reference,
    ) -> Self {
        Self {
            site: upstream.site(),
            repository,
            reference,
        }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.site == key.site
            && *self.reference == key.reference
            && *self.repository == key.repository
    }
}

/// Twice the bytes: an index is also kept parsed.
fn weigh(key: &Key, kept: &Kept) -> usize {
    let bytes = kept.outcome.as_ref().map_or(0, |source| source.bytes.len());
    let names = key.repository.as_str().len() + key.reference.as_str().len();
    ENTRY_WEIGHT + names + 2 * bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrowed_key_finds_what_an_owned_one_has_kept() {
        let upstream = Upstream::new("hub", "https://r.example".parse().unwrap(), None, true);
        let repository = Repository::parse("library/nginx").unwrap();
        let hasher = ahash::RandomState::new();
        for reference in ["latest", &format!("sha256:{}", "0a".repeat(32))] {
            let reference = Reference::parse(reference).unwrap();

            let owned = Key::new(&upstream, &repository, &reference);
            let borrowed = KeyRef::new(&upstream, &repository, &reference);

            assert!(borrowed.equivalent(&owned));
            assert_eq!(hasher.hash_one(&owned), hasher.hash_one(borrowed));
        }
    }
}
