//! How often an upstream is asked, where the operator limits that: a token
//! bucket for each, which holds the requests of one second.
//!
//! Blobs are not counted: registries limit manifests, and a blob that is cut
//! off costs more than one that is read.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use dashmap::DashMap;

use super::{Error, Site, Upstream, clock::Clock, metrics::Kind};

/// What a bucket holds: what may be asked at once after a pause.
const BURST: Duration = Duration::from_secs(1);

/// The buckets: one for each upstream that was asked.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The time that one request takes up. `None`: there is no limit.
    interval: Option<Duration>,
    /// Until when the requests so far take up the time.
    spent_until: DashMap<Site, Instant, ahash::RandomState>,
    clock: Clock,
}

impl Budget {
    /// So many requests a second for each upstream, or any number.
    pub(crate) fn new(per_second: Option<NonZeroU32>, clock: Clock) -> Self {
        Self {
            interval: per_second.map(|rate| Duration::from_secs(1) / rate.get()),
            spent_until: DashMap::default(),
            clock,
        }
    }

    /// Takes one request from `upstream`'s bucket. The error says when there
    /// is one again.
    pub(crate) fn take(&self, upstream: &Upstream, kind: Kind) -> Result<(), Error> {
        let Some(interval) = self.interval.filter(|_| kind != Kind::Blob) else {
            return Ok(());
        };
        let now = self.clock.now();
        let mut spent = self.spent_until.entry(upstream.site()).or_insert(now);
        let next = (*spent).max(now) + interval;
        let early = next.duration_since(now).saturating_sub(BURST);
        if !early.is_zero() {
            return Err(Error::RateLimited {
                upstream: upstream.name.clone(),
                retry_after: early,
            });
        }
        *spent = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str) -> Upstream {
        let url = format!("https://{name}.example");
        Upstream::new(name, url.parse().unwrap(), None, true)
    }

    fn budget(per_second: u32) -> (Budget, Clock) {
        let clock = Clock::default();
        (
            Budget::new(NonZeroU32::new(per_second), clock.clone()),
            clock,
        )
    }

    fn taken(budget: &Budget, upstream: &Upstream, tries: usize) -> usize {
        let tries = (0..tries).map(|_| budget.take(upstream, Kind::Manifest));
        tries.filter(Result::is_ok).count()
    }

    #[test]
    fn a_second_holds_what_it_is_said_to_hold() {
        let (budget, clock) = budget(4);
        let hub = upstream("hub");

        assert_eq!(taken(&budget, &hub, 100), 4);
        clock.advance(Duration::from_millis(500));
        assert_eq!(taken(&budget, &hub, 100), 2);
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(taken(&budget, &hub, 100), 4);
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let (budget, clock) = budget(4);
        let hub = upstream("hub");
        taken(&budget, &hub, 4);

        let Err(Error::RateLimited { retry_after, .. }) = budget.take(&hub, Kind::Tags) else {
            panic!("the bucket is empty");
        };
        clock.advance(retry_after + Duration::from_millis(1));

        assert!(budget.take(&hub, Kind::Tags).is_ok());
    }

    #[test]
    fn upstreams_have_buckets_of_their_own_and_blobs_none() {
        let (budget, _) = budget(1);
        let [hub, quay] = ["hub", "quay"].map(upstream);

        assert_eq!(taken(&budget, &hub, 9), 1);
        assert_eq!(taken(&budget, &quay, 9), 1);
        assert!(budget.take(&hub, Kind::Blob).is_ok());
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let budget = Budget::new(None, Clock::default());

        assert_eq!(taken(&budget, &upstream("hub"), 1_000), 1_000);
    }
}
