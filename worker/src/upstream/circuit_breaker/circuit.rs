//! One circuit: closed, open, or half-open.

use std::time::{Duration, Instant};

/// Failures that open a circuit.
pub(super) const FAILURES: u32 = 5;
/// The time after which one failure no longer counts.
const DECAY: Duration = Duration::from_secs(10);
/// How long it is remembered which requests failed, and that a circuit was
/// open.
const MEMORY: Duration = Duration::from_secs(60);
/// How many failed requests are remembered.
const MAX_FAILED: usize = 16;
/// How long an open circuit rejects a request that failed, at first; twice as
/// long each further time.
pub(super) const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// How often an open circuit lets one other request through as a probe.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Counts failures, and rejects requests while there are too many.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// The requests that failed and when, the latest last.
    failed: Vec<(u64, Instant)>,
    /// How many times in a row it has opened.
    openings: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// When a request that failed may be tried again.
    until: Instant,
    /// When another request may be tried.
    next_probe: Instant,
    /// The request that was let through last.
    probe: Option<u64>,
}

impl Circuit {
    /// Whether `request` may be sent. The error says when to ask again.
    pub(super) fn admit(&mut self, request: u64, now: Instant) -> Result<(), Duration> {
        if self.is_forgotten(now) {
            *self = Self::default();
        }
        let has_failed = self.failed.iter().any(|(failed, _)| *failed == request);
        let rest = self.rest();
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let due = if has_failed {
            open.until
        } else {
            open.next_probe
        };
        let wait = due.saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if has_failed {
            open.until = now + rest;
        }
        open.next_probe = now + PROBE_INTERVAL;
        open.probe = Some(request);
        Ok(())
    }

    /// Notes that `request` failed. The circuit opens after several failures,
    /// of at least `distinct` requests. Failures of requests that were sent
    /// before it opened do not keep it open for longer.
    pub(super) fn fail(&mut self, request: u64, now: Instant, distinct: usize) {
        self.failures = self.current_failures(now).saturating_add(1);
        self.failed
            .retain(|(failed, at)| *failed != request && now.duration_since(*at) < MEMORY);
        self.failed.push((request, now));
        if self.failed.len() > MAX_FAILED {
            self.failed.remove(0);
        }
        let opens = match self.open {
            Some(open) => open.probe == Some(request),
            None => self.failures >= FAILURES && self.failed.len() >= distinct,
        };
        if opens {
            self.openings = self.openings.saturating_add(1);
            self.open = Some(Open {
                until: now + self.rest(),
                next_probe: now + PROBE_INTERVAL,
                probe: None,
            });
        }
    }

    /// Whether nothing of it matters any more.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let is_over = |open: Open| now.saturating_duration_since(open.until) > MEMORY;
        self.current_failures(now) == 0 && self.open.is_none_or(is_over)
    }

    fn current_failures(&self, now: Instant) -> u32 {
        let since = self.failed.last().map(|(_, at)| now.duration_since(*at));
        let decayed = since.unwrap_or_default().as_secs() / DECAY.as_secs();
        let decayed = u32::try_from(decayed).unwrap_or(u32::MAX);
        self.failures.saturating_sub(decayed)
    }

    fn rest(&self) -> Duration {
        let doublings = self.openings.saturating_sub(1).min(16);
        (SHORTEST_REST * (1 << doublings)).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MOMENT: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES {
            assert_eq!(circuit.admit(1, now), Ok(()));
            circuit.fail(1, now, 1);
        }
        circuit
    }

    #[test]
    fn a_request_that_failed_waits_longer_each_time() {
        let start = Instant::now();
        let mut circuit = opened(start);
        assert_eq!(circuit.admit(1, start), Err(SHORTEST_REST));

        let now = start + SHORTEST_REST;
        assert_eq!(circuit.admit(1, now), Ok(()));
        circuit.fail(1, now, 1);

        assert_eq!(circuit.admit(1, now), Err(SHORTEST_REST * 2));
        let mut later = now;
        for _ in 0..10 {
            later += LONGEST_REST;
            assert_eq!(circuit.admit(1, later), Ok(()));
            circuit.fail(1, later, 1);
        }
        assert_eq!(circuit.admit(1, later), Err(LONGEST_REST));
    }

    #[test]
    fn another_request_is_the_probe_before_the_one_that_failed() {
        let start = Instant::now();
        let mut circuit = opened(start);

        let now = start + PROBE_INTERVAL;

        assert!(circuit.admit(1, now).is_err());
        assert_eq!(circuit.admit(2, now), Ok(()));
        assert_eq!(circuit.admit(3, now), Err(PROBE_INTERVAL));
    }

    #[test]
    fn only_one_request_at_a_time_is_the_probe() {
        let start = Instant::now();
        let mut circuit = opened(start);
        let now = start + SHORTEST_REST;

        assert_eq!(circuit.admit(1, now), Ok(()));

        assert_eq!(circuit.admit(1, now), Err(SHORTEST_REST));
    }

    #[test]
    fn a_hundred_failures_at_a_time_do_not_make_the_rest_longer() {
        let start = Instant::now();
        let mut circuit = opened(start);
        for _ in 0..100 {
            circuit.fail(1, start, 1);
        }

        assert_eq!(circuit.admit(1, start), Err(SHORTEST_REST));
    }

    #[test]
    fn failures_far_apart_do_not_open_it() {
        let mut now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..100 {
            circuit.fail(1, now, 1);
            now += DECAY;
        }

        assert_eq!(circuit.admit(1, now), Ok(()));
    }

    #[test]
    fn failures_of_one_request_do_not_open_what_wants_several() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..100 {
            circuit.fail(1, now, 3);
        }
        assert_eq!(circuit.admit(2, now), Ok(()));

        circuit.fail(2, now, 3);
        circuit.fail(3, now, 3);

        assert!(circuit.admit(4, now).is_err());
    }

    #[test]
    fn what_was_open_long_ago_is_forgotten() {
        let start = Instant::now();
        let mut circuit = opened(start);
        assert!(!circuit.is_forgotten(start));

        let later = start + SHORTEST_REST + MEMORY + A_MOMENT;

        assert!(circuit.is_forgotten(later));
        assert_eq!(circuit.admit(1, later), Ok(()));
        circuit.fail(1, later, 1);
        assert_eq!(circuit.admit(1, later), Ok(()));
    }

    #[test]
    fn it_remembers_a_bounded_number_of_requests() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for request in 0..10_000 {
            circuit.fail(request, now, 1);
        }

        assert_eq!(circuit.failed.len(), MAX_FAILED);
    }
}
