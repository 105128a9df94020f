//! Waits for what must happen, and fails when it does not.

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);
/// How often it is looked at before a limit counts: a machine that stood still
/// for as long has given no one any time.
const LEAST_LOOKS: u32 = 20;

/// Waits until `holds` says true; fails after [`PATIENCE`], saying `what`.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, holds).await;
}

/// Waits until `holds` says true; fails after `limit`, saying `what`.
pub async fn within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let (start, mut looks) = (Instant::now(), 1);
    while !holds().await {
        let is_over = start.elapsed() >= limit && looks >= LEAST_LOOKS;
        assert!(!is_over, "not within {limit:?}: {what}");
        tokio::time::sleep(STEP).await;
        looks += 1;
    }
}
