//! Bounds on what upstreams take of this worker: requests that wait for their
//! answer, and memory for the bodies that are read as a whole.
//!
//! One upstream gets at most half of each, so that one that stalls leaves the
//! other half to the others. Requests wait in turn for a permit, but no longer
//! than a client may be held.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Error, Limit, Settings, Site, Upstream, metrics::Metrics};
use crate::in_flight::{Counted, InFlight};

/// The least memory for bodies, in bytes: the half of it holds the largest list.
const LEAST_MEMORY: usize = 16 << 20;

/// The permits for requests and for memory.
#[derive(Debug)]
pub(crate) struct Limits {
    requests: Permits,
    memory: Permits,
    per_login: usize,
    overloads: Counter,
}

/// A number of permits for all upstreams, and half of them for each.
#[derive(Debug)]
struct Permits {
    limit: Limit,
    count: usize,
    all: Arc<Semaphore>,
    each: DashMap<Site, Arc<Semaphore>, ahash::RandomState>,
    patience: Duration,
    in_use: Gauge,
}

/// Permits that are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    number: u32,
    in_use: Gauge,
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _login: Option<Counted>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings, metrics: &Metrics) -> Self {
        let permits = |limit, count: usize, in_use: &Gauge| {
            let count = count.clamp(2, Semaphore::MAX_PERMITS);
            Permits {
                limit,
                count,
                all: Arc::new(Semaphore::new(count)),
                each: DashMap::default(),
                patience: settings.patience,
                in_use: in_use.clone(),
            }
        };
        let memory = settings.small_body_memory.max(LEAST_MEMORY);
        Self {
            requests: permits(Limit::Requests, settings.requests, &metrics.in_flight),
            memory: permits(Limit::Memory, memory, &metrics.small_bodies),
            per_login: settings.requests_per_login,
            overloads: metrics.overloads.clone(),
        }
    }

    /// A permit for a request, until its answer has come.
    pub(crate) async fn request(&self, upstream: &Upstream) -> Result<Permit, Error> {
        let login = InFlight::current().count(self.per_login);
        let permit = match login {
            None => Err(Limit::Login),
            login => self.requests.take(upstream, 1, login).await,
        };
        self.counted(permit)
    }

    /// A permit for so much memory, while a body is read into it.
    pub(crate) async fn memory(&self, upstream: &Upstream, bytes: usize) -> Result<Permit, Error> {
        self.counted(self.memory.take(upstream, bytes, None).await)
    }

    fn counted(&self, permit: Result<Permit, Limit>) -> Result<Permit, Error> {
        permit.map_err(|limit| {
            self.overloads.inc();
            Error::Overloaded(limit)
        })
    }
}

impl Permits {
    async fn take(
        &self,
        upstream: &Upstream,
        number: usize,
        login: Option<Counted>,
    ) -> Result<Permit, Limit> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let half = || Arc::new(Semaphore::new(self.count / 2));
        let own = self
            .each
            .entry(upstream.site())
            .or_insert_with(half)
            .clone();
        let all = Arc::clone(&self.all);
        let both = async {
            let own = own.acquire_many_owned(number).await.ok()?;
            Some((own, all.acquire_many_owned(number).await.ok()?))
        };
        let (own, all) = timeout(self.patience, both)
            .await
            .ok()
            .flatten()
            .ok_or(self.limit)?;
        self.in_use.inc_by(i64::from(number));
        Ok(Permit {
            number,
            in_use: self.in_use.clone(),
            _own: own,
            _all: all,
            _login: login,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_use.dec_by(i64::from(self.number));
    }
}
