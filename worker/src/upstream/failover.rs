//! Which address of an upstream is asked first, where it has several.
//!
//! They are asked in the admin's order. After a failure the one that answered
//! is asked first for a while, so that not every request waits for the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;

use super::{Error, Site, Upstream, clock::Clock};

/// For how long the admin's order is left after a failure.
const MEMORY: Duration = Duration::from_secs(30);

/// The addresses that answered after another one had failed.
#[derive(Debug)]
pub(crate) struct Failover {
    /// The place in the admin's order, and until when it comes first.
    preferred: DashMap<Site, (usize, Instant), ahash::RandomState>,
    clock: Clock,
}

impl Failover {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            preferred: DashMap::default(),
            clock,
        }
    }

    /// The upstream at each of its addresses, with its place in the admin's
    /// order, in the order to ask them in.
    pub(crate) fn order<'a>(&self, upstream: &'a Arc<Upstream>) -> Vec<(usize, &'a Arc<Upstream>)> {
        let all = [upstream].into_iter().chain(upstream.fallbacks());
        let mut order: Vec<_> = all.enumerate().collect();
        let now = self.clock.now();
        let preferred = self.preferred.get(&upstream.site()).map(|it| *it);
        if let Some((place, until)) = preferred.filter(|(place, _)| *place < order.len()) {
            if now < until {
                order[..=place].rotate_right(1);
            } else {
                self.preferred.remove(&upstream.site());
            }
        }
        order
    }

    /// Notes that `upstream` answered at this place, and not before it.
    pub(crate) fn prefer(&self, upstream: &Upstream, place: usize) {
        let until = self.clock.now() + MEMORY;
        self.preferred.insert(upstream.site(), (place, until));
    }
}

/// Whether another address may do better.
pub(crate) fn is_of_address(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Timeout { .. })
}
