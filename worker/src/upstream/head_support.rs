//! Repositories for which an upstream answers `HEAD` otherwise than `GET`.
//!
//! Some registries answer `HEAD` of a manifest with 404, 403 or 500 although
//! `GET` works. The worker goes by `GET` there, for a while.

use std::time::{Duration, Instant};

use super::{Site, Upstream, clock::Clock, metrics::Kind};
use crate::{cache::Cache, reference::Repository};

/// How long `HEAD` is not used for a repository after it was found unreliable.
const MEMORY: Duration = Duration::from_secs(600);
/// The most that all entries may weigh, and what one weighs besides its name,
/// in bytes.
const CAPACITY: u64 = 2 << 20;
const ENTRY_WEIGHT: usize = 128;

/// The repositories for which `HEAD` is not used.
#[derive(Debug)]
pub(crate) struct HeadSupport {
    unreliable_until: Cache<(Site, Repository, Kind), Instant>,
    clock: Clock,
}

impl HeadSupport {
    /// `HEAD` is used everywhere.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            unreliable_until: Cache::new(CAPACITY, |(_, repository, _), _| {
                ENTRY_WEIGHT + repository.as_str().len()
            }),
            clock,
        }
    }

    /// Whether `HEAD` may confirm content of `kind` in `repository`.
    pub(crate) fn is_reliable(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        kind: Kind,
    ) -> bool {
        let key = (upstream.site(), repository.clone(), kind);
        let until = self.unreliable_until.get(&key);
        until.is_none_or(|until| self.clock.now() >= until)
    }

    /// Notes that `HEAD` denied what `GET` then delivered.
    pub(crate) fn note_unreliable(&self, upstream: &Upstream, repository: &Repository, kind: Kind) {
        let key = (upstream.site(), repository.clone(), kind);
        self.unreliable_until.insert(key, self.clock.now() + MEMORY);
    }
}
