//! What the control plane does now and then by itself: forget what no one uses,
//! rotate signing keys, note when admin tokens were used.
//!
//! What it deletes is told by the clock. So it deletes nothing when the clock
//! has jumped, and gives people until the next round to set it right.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Catalog;

/// How often.
const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How far a clock may go wrong, or be set right, within an interval.
const TOLERANCE: Duration = Duration::from_secs(2 * 60);
/// How long a stop waits for what can be lost.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long what no one needs is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Recipes, since their last use.
    pub(crate) recipes: Duration,
    /// Records of the audit.
    pub(crate) audit: Duration,
}

/// The time of day beside a clock that only goes on.
#[derive(Debug)]
struct Watch {
    steady: Instant,
    day: SystemTime,
}

/// Keeps house until `shutdown` is cancelled.
pub(crate) async fn run(catalog: Catalog, retention: Retention, shutdown: CancellationToken) {
    let mut watch = Watch::start();
    // Control planes over one store are not to do it all at once.
    let first = INTERVAL.mul_f64(0.5 + fastrand::f64() / 2.0);
    let mut ticks = interval_at(Instant::now() + first, INTERVAL);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let jump = watch.jump(Instant::now(), SystemTime::now());
        tidy(&catalog, retention, jump).await;
        if let Err(error) = catalog.rotate_signing_keys(SystemTime::now()).await {
            warn!("cannot rotate the signing keys: {error}");
        }
        keep_token_uses(&catalog).await;
    }
    // The store may be what is in trouble.
    let _ = timeout(LAST_WRITE_TIMEOUT, keep_token_uses(&catalog)).await;
}

/// Deletes what is old, unless the clock has jumped so far.
async fn tidy(catalog: &Catalog, retention: Retention, jump: Duration) {
    if jump < TOLERANCE {
        return sweep(catalog, retention).await;
    }
    let jump = humantime::format_duration(Duration::from_secs(jump.as_secs()));
    warn!("the clock has jumped by {jump}: nothing is deleted this time");
}

async fn sweep(catalog: &Catalog, retention: Retention) {
    let Retention { recipes, audit } = retention;
    match catalog.sweep_recipes(recipes).await {
        Ok(0) => {}
        Ok(count) => info!("deleted {count} recipes that no one has used for {recipes:?}"),
        Err(error) => warn!("cannot delete unused recipes: {error}"),
    }
    if let Err(error) = catalog.sweep_joins().await {
        warn!("cannot forget join tokens and workers that are over: {error}");
    }
    if let Err(error) = catalog.sweep_host_tokens().await {
        warn!("cannot forget host tokens that are over: {error}");
    }
    if let Err(error) = catalog.sweep_observed().await {
        warn!("cannot forget hosts that are gone: {error}");
    }
    if let Err(error) = catalog.sweep_purges().await {
        warn!("cannot delete old purges: {error}");
    }
    match catalog.sweep_audit(audit).await {
        Ok(0) => {}
        Ok(count) => info!("deleted {count} changes older than {audit:?} from the audit"),
        Err(error) => warn!("cannot sweep the audit: {error}"),
    }
}

async fn keep_token_uses(catalog: &Catalog) {
    if let Err(error) = catalog.keep_token_uses().await {
        warn!("cannot note when admin tokens were used: {error}");
    }
}

impl Watch {
    fn start() -> Self {
        Self {
            steady: Instant::now(),
            day: SystemTime::now(),
        }
    }

    /// By how much the time of day has jumped since it was looked at last.
    fn jump(&mut self, steady: Instant, day: SystemTime) -> Duration {
        let before = std::mem::replace(self, Self { steady, day });
        let passed = steady.saturating_duration_since(before.steady);
        let expected = before.day + passed;
        let ahead = day.duration_since(expected);
        ahead.unwrap_or_else(|behind| behind.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn a_clock_that_goes_on_has_not_jumped() {
        let mut watch = Watch::start();
        let (steady, day) = (watch.steady, watch.day);

        assert_eq!(watch.jump(steady + HOUR, day + HOUR), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_has_jumped_once() {
        let mut watch = Watch::start();
        let (steady, day) = (watch.steady, watch.day);

        assert_eq!(watch.jump(steady + HOUR, day + 1_000 * HOUR), 999 * HOUR);
        let later = watch.jump(steady + 2 * HOUR, day + 1_001 * HOUR);
        assert_eq!(later, Duration::ZERO);
        assert_eq!(watch.jump(steady + 3 * HOUR, day + 3 * HOUR), 999 * HOUR);
    }

    /// How much of the audit is left after a round that is to leave nothing.
    async fn left_after(jump: Duration) -> usize {
        let catalog = Catalog::in_memory().await;
        let begun = SystemTime::now();
        while begun.elapsed().unwrap_or_default() < Duration::from_millis(2) {
            tokio::task::yield_now().await;
        }
        let retention = Retention {
            recipes: Duration::ZERO,
            audit: Duration::ZERO,
        };
        tidy(&catalog, retention, jump).await;
        catalog.sweep_audit(Duration::ZERO).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_old_is_deleted_unless_the_clock_has_jumped() {
        assert_eq!(left_after(Duration::ZERO).await, 0);
        assert_eq!(left_after(HOUR).await, 1);
    }
}
