//! The snapshot that is served, and how fresh it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwapOption, Guard};
use tokio::{sync::Notify, time::timeout};

use super::{Revision, Snapshot};

/// Where the newest good snapshot is. One writer, any number of readers that
/// never wait.
#[derive(Debug)]
pub(crate) struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    published: Notify,
    /// The newest revision that the control plane has named.
    newest: ArcSwapOption<Revision>,
    started: Instant,
    /// When the control plane was last heard, in milliseconds after `started`.
    heard: AtomicU64,
    rejected: AtomicU64,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            published: Notify::new(),
            newest: ArcSwapOption::empty(),
            started: Instant::now(),
            heard: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }
}

impl Current {
    /// The snapshot to serve. `None` until the first one is complete.
    pub(crate) fn load(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    /// The same, to keep for longer.
    pub(crate) fn load_full(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The same; waits for the first one when there is none yet.
    pub(crate) async fn first(&self, patience: Duration) -> Option<Arc<Snapshot>> {
        let published = self.published.notified();
        let held = self.load_full();
        if held.is_some() || timeout(patience, published).await.is_err() {
            return held;
        }
        self.load_full()
    }

    /// Serves `snapshot` from now on.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(Some(snapshot));
        self.published.notify_waiters();
    }

    /// Takes the snapshot away, as if there had been none.
    #[cfg(test)]
    pub(crate) fn retract(&self) {
        self.snapshot.store(None);
    }

    /// Notes that the control plane is alive.
    pub(crate) fn heard(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Relaxed);
    }

    /// Notes the newest revision that the control plane has named.
    pub(crate) fn named(&self, newest: Revision) {
        self.newest.store(Some(Arc::new(newest)));
    }

    /// Notes that a revision was refused.
    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// How many revisions were refused.
    pub(crate) fn rejections(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// How long ago the control plane was last heard. Since the start, if
    /// never.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Relaxed));
        self.started.elapsed().saturating_sub(heard)
    }

    /// How many revisions the served snapshot is behind, as far as known.
    pub(crate) fn lag(&self) -> u64 {
        let (held, newest) = (self.load(), self.newest.load());
        match (held.as_deref(), newest.as_deref()) {
            (Some(held), Some(newest)) if held.revision.epoch == newest.epoch => {
                newest.number.saturating_sub(held.revision.number)
            }
            (_, Some(_)) => 1,
            (_, None) => 0,
        }
    }
}
