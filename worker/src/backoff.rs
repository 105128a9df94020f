//! How long to wait before the next try.

use std::time::Duration;

/// A limit that doubles with each failure, of which a random part is waited.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    /// Counts a failure and returns how long to wait for it.
    ///
    /// `jitter`, from 0 to 1, spreads callers over the whole delay, so that
    /// workers cut off together do not come back together.
    pub(crate) fn next_delay(&mut self, jitter: f64) -> Duration {
        let doubled = self.min.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.max).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// Starts over, after something worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn doubles_up_to_the_limit() {
        let mut backoff = Backoff::new(MIN, MAX);

        let delays: Vec<_> = (0..8)
            .map(|_| backoff.next_delay(1.0).as_millis())
            .collect();

        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn never_exceeds_the_limit_however_often_it_fails() {
        let mut backoff = Backoff::new(MIN, MAX);

        assert!((0..1000).all(|_| backoff.next_delay(1.0) <= MAX));
    }

    #[test]
    fn jitter_spreads_over_the_whole_delay() {
        let mut backoff = Backoff::new(MIN, MAX);

        assert_eq!(backoff.next_delay(0.0), Duration::ZERO);
        assert_eq!(backoff.next_delay(0.5), MIN);
    }

    #[test]
    fn starts_over_after_a_success() {
        let mut backoff = Backoff::new(MIN, MAX);
        backoff.next_delay(1.0);

        backoff.reset();

        assert_eq!(backoff.next_delay(1.0), MIN);
    }
}
