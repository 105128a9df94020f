//! What time it is. Tests turn it forward instead of waiting.

use std::time::Instant;

/// The clock that times to live are counted by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    #[cfg(test)]
    ahead_ms: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Clock {
    /// The present moment.
    #[cfg(not(test))]
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    /// The present moment, plus what the test has turned it forward.
    #[cfg(test)]
    pub(crate) fn now(&self) -> Instant {
        let ahead = self.ahead_ms.load(std::sync::atomic::Ordering::Relaxed);
        Instant::now() + std::time::Duration::from_millis(ahead)
    }

    /// Turns it forward.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: std::time::Duration) {
        let by = by.as_millis() as u64;
        self.ahead_ms
            .fetch_add(by, std::sync::atomic::Ordering::Relaxed);
    }
}
