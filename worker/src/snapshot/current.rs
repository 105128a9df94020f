//! The snapshot that is served, and how fresh it is.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{
            AtomicI64, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwapOption, Guard};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

use super::{Revision, Snapshot};

/// How old a policy may be, unless the operator says otherwise.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the newest good snapshot is. One writer, any number of readers that
/// never wait.
#[derive(Debug)]
pub(crate) struct Current {
    snapshot: ArcSwapOption<Snapshot>,
    published: Arc<Notify>,
    /// How often it was published.
    changes: AtomicU64,
    /// The newest revision that the control plane has named.
    newest: ArcSwapOption<Revision>,
    started: Instant,
    /// When the control plane was last heard, in milliseconds after `started`.
    /// Negative when another run of this worker heard it.
    heard: AtomicI64,
    max_age: Duration,
    rejected: AtomicU64,
    mismatched: AtomicU64,
    whole: AtomicU64,
}

/// How old a policy is that is too old, and how old it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outdated {
    /// How long ago the control plane was last heard.
    pub(crate) age: Duration,
    /// What the operator allows.
    pub(crate) max_age: Duration,
}

impl Default for Current {
    fn default() -> Self {
        Self::new(MAX_AGE)
    }
}

impl Current {
    /// None so far. It is outdated when the control plane was not heard for
    /// longer than `max_age`.
    pub(crate) fn new(max_age: Duration) -> Self {
        Self {
            snapshot: ArcSwapOption::empty(),
            published: Arc::default(),
            changes: AtomicU64::new(0),
            newest: ArcSwapOption::empty(),
            started: Instant::now(),
            heard: AtomicI64::new(0),
            max_age,
            rejected: AtomicU64::new(0),
            mismatched: AtomicU64::new(0),
            whole: AtomicU64::new(0),
        }
    }

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

    /// Waits until revision `number` is served, or a later one.
    pub(crate) async fn reached(&self, number: u64) {
        loop {
            let published = self.published.notified();
            let held = self.load_full();
            if held.is_some_and(|held| held.revision.number >= number) {
                return;
            }
            published.await;
        }
    }

    /// Serves `snapshot` from now on.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(Some(snapshot));
        self.changes.fetch_add(1, Release);
        self.published.notify_waiters();
    }

    /// How often the served snapshot has changed: one that is loaded after this
    /// is at least as new.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    /// Ends when the served snapshot changes.
    pub(crate) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.published).notified_owned()
    }

    /// Takes the snapshot away, as if there had been none.
    #[cfg(test)]
    pub(crate) fn retract(&self) {
        self.snapshot.store(None);
    }

    /// Notes that the control plane is alive.
    pub(crate) fn heard(&self) {
        self.heard.store(millis(self.started.elapsed()), Relaxed);
    }

    /// Notes that the control plane was alive some time before now.
    pub(crate) fn heard_ago(&self, ago: Duration) {
        let now = millis(self.started.elapsed());
        self.heard.store(now.saturating_sub(millis(ago)), Relaxed);
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

    /// Notes that the copy of the policy was found to differ from it.
    pub(crate) fn mismatched(&self) {
        self.mismatched.fetch_add(1, Relaxed);
    }

    /// How often the copy was found to differ.
    pub(crate) fn mismatches(&self) -> u64 {
        self.mismatched.load(Relaxed)
    }

    /// Notes that the control plane has sent everything anew.
    pub(crate) fn took_whole(&self) {
        self.whole.fetch_add(1, Relaxed);
    }

    /// How often the control plane has sent everything.
    pub(crate) fn wholes(&self) -> u64 {
        self.whole.load(Relaxed)
    }

    /// How long ago the control plane was last heard. Since the start, if
    /// never.
    pub(crate) fn silence(&self) -> Duration {
        self.silence_at(Instant::now())
    }

    /// Says so when the policy is too old at `now` to tell who may read what is
    /// restricted.
    pub(crate) fn outdated(&self, now: Instant) -> Option<Outdated> {
        let (age, max_age) = (self.silence_at(now), self.max_age);
        (age > max_age).then_some(Outdated { age, max_age })
    }

    fn silence_at(&self, now: Instant) -> Duration {
        let now = millis(now.saturating_duration_since(self.started));
        let silence = now.saturating_sub(self.heard.load(Relaxed));
        Duration::from_millis(u64::try_from(silence).unwrap_or_default())
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

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |it: Duration| humantime::format_duration(Duration::from_secs(it.as_secs()));
        write!(
            f,
            "the control plane has not confirmed the policy for {}, more than the {} that --max-policy-age allows",
            seconds(self.age),
            seconds(self.max_age),
        )
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_policy_is_outdated_once_it_was_not_confirmed_for_too_long() {
        let current = Current::new(HOUR);
        let now = Instant::now();

        assert_eq!(current.outdated(now + HOUR / 2), None);
        assert!(current.outdated(now + HOUR * 2).is_some());
    }

    #[test]
    fn a_policy_from_before_the_start_is_as_old_as_it_is() {
        let current = Current::new(HOUR);

        current.heard_ago(HOUR * 2);

        assert!(current.silence() >= HOUR * 2);
        assert!(current.outdated(Instant::now()).is_some());
    }

    #[test]
    fn hearing_the_control_plane_makes_the_policy_good_again() {
        let current = Current::new(HOUR);
        current.heard_ago(HOUR * 2);

        current.heard();

        assert_eq!(current.outdated(Instant::now()), None);
    }

    #[test]
    fn an_age_beyond_all_measure_is_no_overflow() {
        let current = Current::new(HOUR);

        current.heard_ago(Duration::MAX);

        assert!(current.outdated(Instant::now()).is_some());
    }
}
