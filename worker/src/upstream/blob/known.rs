//! What upstreams have said about their blobs.
//!
//! A file in the cache says nothing about who may have it. Only the upstream
//! can say that a repository has a blob, and for how long that is believed is
//! decided here.

use std::time::{Duration, Instant};

use super::BlobRequest;
use crate::{
    cache::Cache,
    purge::PurgeScope,
    reference::{Digest, Repository},
    upstream::{Origin, Site, Upstream, clock::Clock},
};

/// How long it is believed that a repository has a blob.
const BELIEF: Duration = Duration::from_secs(600);
/// How long to leave an upstream alone that could not be asked again.
const REPRIEVE: Duration = Duration::from_secs(15);
/// What is remembered may weigh this much, in bytes.
const CAPACITY: u64 = 8 << 20;
/// What one fact weighs besides its names, in bytes.
const FACT_WEIGHT: usize = 256;

/// A blob of a repository, as seen with one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    site: Site,
    repository: Repository,
    pub(super) digest: Digest,
    pub(super) origin: Origin,
}

/// That a repository has a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    /// How long the blob is, in bytes.
    pub(super) length: u64,
    /// Whether the upstream sent it itself where it might have redirected.
    is_unredirected: bool,
    until: Instant,
}

/// What is known of blobs.
#[derive(Debug)]
pub(super) struct Known {
    facts: Cache<Key, Fact>,
    clock: Clock,
}

impl Key {
    pub(super) fn new(upstream: &Upstream, request: &BlobRequest<'_>) -> Self {
        Self {
            site: upstream.site(),
            repository: request.repository.clone(),
            digest: request.digest.clone(),
            origin: upstream.origin(request.repository),
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }
}

impl Known {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            facts: Cache::new(CAPACITY, |key, _| {
                FACT_WEIGHT + key.repository.as_str().len() + key.digest.as_str().len()
            }),
            clock,
        }
    }

    /// What is known, fresh or not.
    pub(super) fn get(&self, key: &Key) -> Option<Fact> {
        self.facts.get(key)
    }

    /// Whether `fact` need not be asked for again.
    pub(super) fn is_fresh(&self, fact: &Fact) -> bool {
        self.clock.now() < fact.until
    }

    /// Whether the upstream sends the blob itself, to one who would follow a
    /// redirect.
    pub(super) fn is_unredirected(&self, key: &Key) -> bool {
        self.get(key)
            .is_some_and(|fact| fact.is_unredirected && self.is_fresh(&fact))
    }

    /// Notes that the upstream has just said that it has a blob of `length`
    /// bytes.
    pub(super) fn learn(&self, key: &Key, length: u64) {
        self.insert(key, length, self.is_unredirected(key));
    }

    /// The same, where it might have redirected and did not.
    pub(super) fn learn_unredirected(&self, key: &Key, length: u64) {
        self.insert(key, length, true);
    }

    /// Goes on believing `fact` for a while, since the upstream cannot be
    /// asked.
    pub(super) fn prolong(&self, key: &Key, fact: Fact) {
        let until = self.clock.now() + REPRIEVE;
        self.facts.insert(key.clone(), Fact { until, ..fact });
    }

    /// Drops what `scope` covers.
    pub(super) fn purge(&self, scope: &PurgeScope<'_>) {
        self.facts
            .remove_all(|key, _| scope.covers(key.site, &key.repository, [&key.digest]));
    }

    /// Notes that the blob is not there, or no longer to be had.
    pub(super) fn forget(&self, key: &Key) {
        self.facts.remove(key);
    }

    fn insert(&self, key: &Key, length: u64, is_unredirected: bool) {
        let fact = Fact {
            length,
            is_unredirected,
            until: self.clock.now() + BELIEF,
        };
        self.facts.insert(key.clone(), fact);
    }
}
