//! Calls that were refused: counted, logged now and then, and answered slowly
//! when one address makes many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::Error;

/// How many refused calls of one address are answered at once in a window.
const MOST_AT_ONCE: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// How far the answers to more are apart, and how long one waits at most.
const PACE: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How many addresses are remembered.
const MOST_ADDRESSES: usize = 10_000;

/// The refused peers, by address. Clones share one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    total: u64,
    by_address: HashMap<Option<IpAddr>, Window>,
}

/// What one address did since `since`.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    refused: u32,
    /// When the next answer is due.
    next: Instant,
}

impl Refusals {
    /// How many there were.
    pub(super) fn total(&self) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.total
    }

    /// Notes a refused call, and waits if the address makes many.
    pub(super) async fn note(&self, from: Option<IpAddr>, call: &str, reason: &str) {
        let (refused, wait) = self.count(from, Instant::now());
        // The first of a window, and then ever more rarely.
        if refused.is_power_of_two() {
            let from = from.map_or_else(|| "an unknown address".to_owned(), |it| it.to_string());
            warn!(
                peer = from,
                "refused {refused} calls of {from} within a minute, the last of {call}: {reason}"
            );
        }
        sleep(wait).await;
    }

    /// How many calls of this address were refused in this window, and for how
    /// long the answer waits.
    fn count(&self, from: Option<IpAddr>, now: Instant) -> (u32, Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.total += 1;
        let is_over = |window: &Window| now.duration_since(window.since) >= WINDOW;
        if state.by_address.len() >= MOST_ADDRESSES {
            state.by_address.retain(|_, window| !is_over(window));
        }
        if state.by_address.len() >= MOST_ADDRESSES && !state.by_address.contains_key(&from) {
            return (1, PACE);
        }
        let fresh = Window {
            since: now,
            refused: 0,
            next: now,
        };
        let window = state.by_address.entry(from).or_insert(fresh);
        if is_over(window) {
            *window = fresh;
        }
        window.refused += 1;
        if window.refused <= MOST_AT_ONCE {
            return (window.refused, Duration::ZERO);
        }
        window.next = (window.next.max(now) + PACE).min(now + LONGEST_WAIT);
        (window.refused, window.next - now)
    }
}

/// Whether `error` says that the caller may not do what it asks.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Unauthenticated { .. } | Error::Forbidden { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_guesses_waits_longer_and_longer_and_others_do_not() {
        let refusals = Refusals::default();
        let [guesser, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|it| Some(IpAddr::from(it)));
        let now = Instant::now();

        let waits: Vec<_> = (0..200).map(|_| refusals.count(guesser, now).1).collect();

        assert_eq!(waits[MOST_AT_ONCE as usize - 1], Duration::ZERO);
        assert_eq!(waits[MOST_AT_ONCE as usize + 9], PACE * 10);
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
        assert_eq!(refusals.count(other, now).1, Duration::ZERO);
        assert_eq!(refusals.count(guesser, now + WINDOW).1, Duration::ZERO);
        assert_eq!(refusals.total(), 202);
    }
}
