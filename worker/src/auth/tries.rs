//! Slows those down who guess secrets.
//!
//! Failures are counted for each pair of a login's name and an address, and
//! fade with time. A tenth of each counts for the trusted address that reported
//! the client's, if there is one: it may have made the client's up. A host elsewhere with the right secret is not held up, and
//! nor is anyone for long: once the limit is reached, there is a try every few
//! seconds.
//!
//! Takes the same memory whatever comes. Where room is short, those with the
//! fewest failures are forgotten. A lock is taken only where something failed
//! within the last minute.

use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::peer::{Client, network};

/// How many failures there may be at once. containerd repeats a wrong password
/// four or five times each time that it is asked to pull.
const MOST: f64 = 20.0;
/// How many failures fade in a second: all within a minute.
const FADING: f64 = MOST / MEMORY.as_secs_f64();
/// How much of a failure counts for the address that reported the client, which
/// may be a proxy in front of many clients, or a client that made others up.
const REPORTED: f64 = 0.1;
/// How long a failure counts at most.
const MEMORY: Duration = Duration::from_secs(60);
/// Pairs that are remembered: `SETS` times `WAYS`.
const SETS: usize = 2048;
const WAYS: usize = 8;

/// The failures of late.
#[derive(Debug)]
pub(crate) struct Tries {
    sets: Box<[Set]>,
    hasher: ahash::RandomState,
    began: Instant,
}

/// The pairs that share a place.
#[derive(Debug, Default)]
struct Set {
    /// When all of its failures have faded, in milliseconds since the start.
    quiet_after: AtomicU64,
    slots: Mutex<[Slot; WAYS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    pair: u64,
    failures: f64,
    /// When `failures` was right. None: never used.
    at: Option<Instant>,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Set::default()).collect(),
            hasher: ahash::RandomState::new(),
            began: Instant::now(),
        }
    }
}

impl Tries {
    /// How long a client that gives `name` has to wait for the next try. `None`:
    /// it may be now.
    pub(super) fn wait(&self, name: &str, client: Client, now: Instant) -> Option<Duration> {
        let wait = |address| self.wait_at(name, address, now);
        wait(client.address).max(client.reported_by.and_then(wait))
    }

    /// Counts a failure.
    pub(super) fn failed(&self, name: &str, client: Client, now: Instant) {
        self.count(name, client.address, 1.0, now);
        if let Some(address) = client.reported_by {
            self.count(name, address, REPORTED, now);
        }
    }

    fn wait_at(&self, name: &str, address: IpAddr, now: Instant) -> Option<Duration> {
        let pair = self.pair(name, address);
        let set = self.set(pair);
        if set.quiet_after.load(Relaxed) <= self.millis(now) {
            return None;
        }
        let slots = set.slots();
        let slot = slots.iter().find(|slot| slot.pair == pair)?;
        let over = slot.left(now) + 1.0 - MOST;
        (over > 0.0).then(|| Duration::from_secs_f64(over / FADING))
    }

    fn count(&self, name: &str, address: IpAddr, share: f64, now: Instant) {
        let pair = self.pair(name, address);
        let set = self.set(pair);
        let mut slots = set.slots();
        let quiet_after = self.millis(now + MEMORY) + 1;
        set.quiet_after.fetch_max(quiet_after, Relaxed);
        let order = |slot: &Slot| (slot.pair != pair, slot.left(now));
        let slot = slots.iter_mut().min_by(|a, b| {
            order(a)
                .partial_cmp(&order(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        if let Some(slot) = slot {
            let before = if slot.pair == pair {
                slot.left(now)
            } else {
                0.0
            };
            *slot = Slot {
                pair,
                failures: (before + share).min(MOST),
                at: Some(now),
            };
        }
    }

    fn pair(&self, name: &str, address: IpAddr) -> u64 {
        self.hasher.hash_one((name, network(address)))
    }

    fn set(&self, pair: u64) -> &Set {
        &self.sets[usize::try_from(pair % SETS as u64).unwrap_or(0)]
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Set {
    fn slots(&self) -> MutexGuard<'_, [Slot; WAYS]> {
        // Whole even after a panic: each change is one assignment.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The failures that have not faded.
    fn left(&self, now: Instant) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let faded = now.saturating_duration_since(at).as_secs_f64() * FADING;
        (self.failures - faded).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    const NEIGHBOUR: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 9, 9, 9, 9));
    const ELSEWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1));

    /// After as many failures as there may be.
    fn exhausted(now: Instant) -> Tries {
        let tries = Tries::default();
        while tries.wait("qnib-type1", HERE.into(), now).is_none() {
            tries.failed("qnib-type1", HERE.into(), now);
        }
        tries
    }

    #[test]
    fn twenty_failures_are_let_pass_and_no_more() {
        let (tries, now) = (Tries::default(), Instant::now());

        for _ in 0..20 {
            assert_eq!(tries.wait("qnib-type1", HERE.into(), now), None);
            tries.failed("qnib-type1", HERE.into(), now);
        }

        assert!(tries.wait("qnib-type1", HERE.into(), now).is_some());
        assert!(tries.wait("qnib-type1", NEIGHBOUR.into(), now).is_some());
    }

    #[test]
    fn another_address_and_another_login_are_not_held_up() {
        let now = Instant::now();
        let tries = exhausted(now);

        assert_eq!(tries.wait("qnib-type1", ELSEWHERE.into(), now), None);
        assert_eq!(tries.wait("qnib-type2", HERE.into(), now), None);
    }

    #[test]
    fn a_try_comes_back_every_few_seconds_and_all_do_within_a_minute() {
        let now = Instant::now();
        let tries = exhausted(now);

        let wait = tries.wait("qnib-type1", HERE.into(), now).unwrap();
        assert!(wait <= Duration::from_secs(3), "{wait:?}");
        let later = now + wait + Duration::from_millis(1);
        assert_eq!(tries.wait("qnib-type1", HERE.into(), later), None);
        tries.failed("qnib-type1", HERE.into(), later);
        assert!(tries.wait("qnib-type1", HERE.into(), later).is_some());
        for _ in 0..19 {
            let later = now + Duration::from_secs(70);
            assert_eq!(tries.wait("qnib-type1", HERE.into(), later), None);
            tries.failed("qnib-type1", HERE.into(), later);
        }
    }

    #[test]
    fn those_who_try_many_names_do_not_make_others_forgotten() {
        let now = Instant::now();
        let tries = exhausted(now);

        for n in 0..100_000 {
            tries.failed(&format!("name{n}"), HERE.into(), now);
        }

        assert!(tries.wait("qnib-type1", HERE.into(), now).is_some());
    }

    #[test]
    fn a_client_that_makes_addresses_up_is_held_up_all_the_same() {
        let (tries, now) = (Tries::default(), Instant::now());
        let made_up = |n: u32| Client {
            address: IpAddr::V4(n.into()),
            reported_by: Some(HERE),
        };

        let tried = (0..500).filter(|n| {
            let is_free = tries.wait("qnib-type1", made_up(*n), now).is_none();
            if is_free {
                tries.failed("qnib-type1", made_up(*n), now);
            }
            is_free
        });

        assert!((150..=200).contains(&tried.count()));
        assert!(tries.wait("qnib-type1", HERE.into(), now).is_some());
        assert_eq!(tries.wait("qnib-type1", ELSEWHERE.into(), now), None);
    }
}
