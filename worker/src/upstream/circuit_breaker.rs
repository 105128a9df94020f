//! Stops requests to what fails, so that neither the upstream nor the clients
//! wait for failures.
//!
//! Each kind of request to each repository has a circuit of its own: one
//! repository that fails stops no other one. A whole upstream has two: one for
//! connections that cannot be made, and one that opens when several
//! repositories fail while none succeeds. The status of a host that an upstream
//! redirects to says nothing about the upstream.

mod circuit;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use dashmap::DashMap;

use self::circuit::Circuit;
use super::{Error, Place, Site, Why, clock::Clock, exchange::Ask, metrics::Kind};
use crate::reference::Repository;

/// How many repositories must fail for their upstream to count as failing.
const SEVERAL: usize = 3;
/// The most circuits of repositories. While so many are in use, further
/// repositories have none.
const MAX_REPOSITORIES: usize = 4096;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The circuits of all upstreams. One that has not failed takes no room.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    upstreams: DashMap<Site, OfUpstream, ahash::RandomState>,
    repositories: DashMap<Key, OfRepository, ahash::RandomState>,
    hasher: ahash::RandomState,
    next_sweep: Mutex<Instant>,
    clock: Clock,
}

type Key = (Site, Repository, Kind);

#[derive(Debug, Default)]
struct OfUpstream {
    connections: Circuit,
    repositories: Circuit,
}

#[derive(Debug, Default)]
struct OfRepository {
    circuit: Circuit,
    /// Set by a 429 for this kind of request.
    limited_until: Option<Instant>,
}

/// Where a failure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// For the upstream: it was not reached.
    Upstream,
    /// For the repository, and with others for the upstream.
    Repository,
    /// For the repository alone: the upstream itself has answered.
    RepositoryAlone,
    /// For nothing.
    Nowhere,
}

impl CircuitBreaker {
    /// All circuits are closed.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            upstreams: DashMap::default(),
            repositories: DashMap::default(),
            hasher: ahash::RandomState::new(),
            next_sweep: Mutex::new(clock.now()),
            clock,
        }
    }

    /// Whether `ask` may be sent now.
    pub(crate) fn admit(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let now = self.clock.now();
        let rejected = |retry_after| Error::Unavailable {
            upstream: ask.upstream.name.clone(),
            place: Place::Upstream,
            why: Why::Resting,
            retry_after,
        };
        if let Some(mut its) = self.repositories.get_mut(&key(ask)) {
            if let Some(retry_after) = its.limit(now) {
                return Err(Error::RateLimited {
                    upstream: ask.upstream.name.clone(),
                    retry_after,
                });
            }
            let request = self.hasher.hash_one(&ask.path);
            its.circuit.admit(request, now).map_err(rejected)?;
        }
        if let Some(mut its) = self.upstreams.get_mut(&ask.upstream.site()) {
            let request = self.repository_hash(ask);
            its.connections.admit(request, now).map_err(rejected)?;
            its.repositories.admit(request, now).map_err(rejected)?;
        }
        Ok(())
    }

    /// Notes how `ask` went.
    pub(crate) fn report(&self, ask: &Ask<'_>, failure: Option<&Error>) {
        let site = ask.upstream.site();
        let now = self.clock.now();
        let counts = match failure {
            None => {
                self.repositories.remove(&key(ask));
                self.upstreams.remove(&site);
                return;
            }
            Some(Error::RateLimited { retry_after, .. }) => {
                return self.limit(ask, now, *retry_after);
            }
            Some(error) => counts(error),
        };
        if matches!(counts, Counts::Repository | Counts::RepositoryAlone) {
            let request = self.hasher.hash_one(&ask.path);
            self.with_repository(ask, now, |its| its.circuit.fail(request, now, 1));
        }
        let request = self.repository_hash(ask);
        match counts {
            Counts::RepositoryAlone => drop(self.upstreams.remove(&site)),
            Counts::Upstream => {
                let mut its = self.upstreams.entry(site).or_default();
                its.connections.fail(request, now, 1);
            }
            Counts::Repository => {
                let mut its = self.upstreams.entry(site).or_default();
                its.repositories.fail(request, now, SEVERAL);
            }
            Counts::Nowhere => {}
        }
    }

    /// A limit on manifests is the whole upstream's and kept elsewhere; one on
    /// anything else is this repository's.
    fn limit(&self, ask: &Ask<'_>, now: Instant, retry_after: Duration) {
        if ask.kind != Kind::Manifest {
            let until = Some(now + retry_after);
            self.with_repository(ask, now, |its| its.limited_until = until);
        }
    }

    fn with_repository(&self, ask: &Ask<'_>, now: Instant, note: impl FnOnce(&mut OfRepository)) {
        let key = key(ask);
        if self.repositories.len() >= MAX_REPOSITORIES && !self.repositories.contains_key(&key) {
            self.sweep(now);
            if self.repositories.len() >= MAX_REPOSITORIES {
                return;
            }
        }
        note(&mut self.repositories.entry(key).or_default());
    }

    /// Forgets the circuits that matter no more, at most once a second.
    fn sweep(&self, now: Instant) {
        if let Ok(mut next) = self.next_sweep.try_lock()
            && now >= *next
        {
            *next = now + SWEEP_INTERVAL;
            self.repositories.retain(|_, its| !its.is_forgotten(now));
        }
    }

    /// How many repositories have a circuit.
    #[cfg(test)]
    pub(crate) fn repositories(&self) -> usize {
        self.repositories.len()
    }

    fn repository_hash(&self, ask: &Ask<'_>) -> u64 {
        self.hasher.hash_one((ask.repository, ask.kind))
    }
}

impl OfRepository {
    /// How long the limit still lasts.
    fn limit(&self, now: Instant) -> Option<Duration> {
        let left = self.limited_until?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.limit(now).is_none() && self.circuit.is_forgotten(now)
    }
}

fn key(ask: &Ask<'_>) -> Key {
    (ask.upstream.site(), ask.repository.clone(), ask.kind)
}

fn counts(error: &Error) -> Counts {
    match error {
        Error::Overloaded(_)
        | Error::Unavailable {
            why: Why::Internal, ..
        } => Counts::Nowhere,
        Error::Unavailable {
            place: Place::RedirectTarget,
            ..
        }
        | Error::Timeout {
            place: Place::RedirectTarget,
            ..
        } => Counts::RepositoryAlone,
        Error::Unavailable {
            place: Place::Upstream,
            why:
                Why::Unreachable
                | Why::Proxy
                | Why::Certificate(_)
                | Why::CertificateWanted
                | Why::NotTls,
            ..
        } => Counts::Upstream,
        _ => Counts::Repository,
    }
}
