//! How many streams begin at a time, and when they end.
//!
//! A thousand workers that come at once would each hold a whole snapshot in
//! the control plane's buffers; those that are sent away at once would come to
//! the next control plane at once.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A stream's end differs from its age by this part of it at most.
const AGE_SPREAD: f64 = 0.2;
/// The part of the drain that streams may end in.
const DRAIN_SHARE: f64 = 0.6;
/// The time between two ends, in the mean, where the drain has room for it.
const BETWEEN_ENDS: Duration = Duration::from_millis(5);

/// The pace of all streams. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    snapshots: Arc<Semaphore>,
    longest: Duration,
    drain: Duration,
}

/// A turn to send a whole snapshot. Dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None`: the semaphore was closed, which never happens.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pace {
    /// At most `snapshots` are sent at a time, streams last about `longest` (0:
    /// for ever), and all end within `drain` of a shutdown.
    pub(crate) fn new(snapshots: usize, longest: Duration, drain: Duration) -> Self {
        Self {
            snapshots: Arc::new(Semaphore::new(snapshots.clamp(1, Semaphore::MAX_PERMITS))),
            longest,
            drain,
        }
    }

    /// Waits for a turn to send a whole snapshot. First come, first served.
    pub(crate) fn turn(&self) -> impl Future<Output = Turn> + Send + Sync + 'static {
        let waiting = self.snapshots.clone().acquire_owned();
        async {
            let _permit = waiting.await.ok();
            Turn { _permit }
        }
    }

    /// How old a stream may become, spread by `jitter` from 0 to 1.
    pub(crate) fn stream_age(&self, jitter: f64) -> Option<Duration> {
        let spread = 1.0 - AGE_SPREAD + 2.0 * AGE_SPREAD * jitter.clamp(0.0, 1.0);
        (!self.longest.is_zero()).then(|| self.longest.mul_f64(spread))
    }

    /// How long after a shutdown one of `streams` streams ends, spread by
    /// `jitter` from 0 to 1.
    pub(crate) fn end_delay(&self, streams: usize, jitter: f64) -> Duration {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let needed = BETWEEN_ENDS.saturating_mul(streams);
        let spread = needed.min(self.drain.mul_f64(DRAIN_SHARE));
        spread.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DRAIN: Duration = Duration::from_secs(10);

    #[test]
    fn streams_that_began_together_end_apart() {
        let pace = Pace::new(1, HOUR, DRAIN);

        let minutes = [0.0, 0.5, 1.0].map(|jitter| pace.stream_age(jitter).unwrap().as_secs() / 60);

        assert_eq!(minutes, [48, 60, 72]);
        assert_eq!(Pace::new(1, Duration::ZERO, DRAIN).stream_age(0.5), None);
    }

    #[test]
    fn a_drain_is_as_short_as_its_streams_allow_and_never_too_long() {
        let pace = Pace::new(1, HOUR, DRAIN);

        assert_eq!(pace.end_delay(2, 1.0), Duration::from_millis(10));
        assert_eq!(pace.end_delay(1_000, 1.0), Duration::from_secs(5));
        assert_eq!(pace.end_delay(100_000, 1.0), Duration::from_secs(6));
        assert_eq!(pace.end_delay(1_000, 0.5), Duration::from_millis(2_500));
    }

    #[tokio::test]
    async fn no_more_turns_than_allowed_are_taken_at_a_time() {
        let pace = Pace::new(2, HOUR, DRAIN);
        let first = pace.turn().await;
        let _second = pace.turn().await;

        let third = tokio::spawn(pace.turn());
        yield_now().await;
        assert!(!third.is_finished());
        drop(first);

        assert!(third.await.unwrap()._permit.is_some());
    }
}
