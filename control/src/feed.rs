//! What worker streams send: the newest state, encoded once for all of them.
//!
//! There is no queue. A stream asks for the way from the revision that its
//! worker holds to the newest one, so a slow worker skips what lies between.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use metahub_policy::StateDigest;
use tokio::sync::watch;

use crate::{Catalog, Revision, convert, policy::Policy};

/// A larger change is sent as a snapshot. Like a chunk, it may have 1 MiB by the
/// contract; but a stream's buffer stays as large as its largest message was.
const LARGEST_DELTA: usize = 256 << 10;
const CHUNK: usize = 32 << 10;

/// The way from what a worker holds to the newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The worker holds the newest.
    Nothing,
    /// What changed.
    Change(Change),
}

/// What changed between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) base: Revision,
    pub(crate) revision: Revision,
    /// Encoded.
    pub(crate) delta: Bytes,
    /// Of all records after it.
    pub(crate) digest: StateDigest,
}

/// Everything at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) revision: Revision,
    /// Encoded.
    pub(crate) state: Bytes,
    pub(crate) digest: StateDigest,
}

/// The newest state, ready for the wire. Clones share what is encoded and
/// follow the catalog each on its own.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    current: watch::Receiver<Arc<Policy>>,
    encoded: Arc<Mutex<Encoded>>,
}

/// What was encoded for one revision.
#[derive(Debug, Default)]
struct Encoded {
    revision: Revision,
    state: Option<Bytes>,
    /// By the number of the revision that the worker holds. `None`: too large.
    deltas: HashMap<u64, Option<Bytes>>,
}

impl Feed {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        Self {
            current: catalog.subscribe(),
            encoded: Arc::default(),
        }
    }

    /// Waits for a revision that [`Feed::step`] has not seen. `false`: there
    /// will be none.
    pub(crate) async fn changed(&mut self) -> bool {
        self.current.changed().await.is_ok()
    }

    /// Waits until `held` is not newer than what there is. At once when it is of
    /// another history.
    pub(crate) async fn reaches(&mut self, held: Revision) {
        let reached = |newest: Revision| newest.epoch != held.epoch || newest.number >= held.number;
        // Without a catalog there is nothing to wait for.
        let _ = self
            .current
            .wait_for(|policy| reached(policy.revision))
            .await;
    }

    /// The newest revision, and its digest.
    pub(crate) fn newest(&self) -> (Revision, StateDigest) {
        let policy = self.current.borrow();
        (policy.revision, policy.digest)
    }

    /// What the digest at `held` is, if it is not `digest` as far as known.
    pub(crate) fn differs(&self, held: Revision, digest: StateDigest) -> Option<StateDigest> {
        let known = self.current.borrow().digest_at(held);
        known.filter(|known| *known != digest)
    }

    /// The way from `held` to the newest revision. `None`: only the whole
    /// state leads there.
    pub(crate) fn step(&mut self, held: Option<Revision>) -> Option<Step> {
        let policy = self.current.borrow_and_update().clone();
        let base = held?;
        if base == policy.revision {
            return Some(Step::Nothing);
        }
        Some(Step::Change(Change {
            base,
            revision: policy.revision,
            delta: self.encoded(policy.revision).delta(&policy, base)?,
            digest: policy.digest,
        }))
    }

    /// The newest state.
    pub(crate) fn whole(&mut self) -> Whole {
        let policy = self.current.borrow_and_update().clone();
        Whole {
            revision: policy.revision,
            state: self.encoded(policy.revision).state(&policy),
            digest: policy.digest,
        }
    }

    fn encoded(&self, revision: Revision) -> MutexGuard<'_, Encoded> {
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        encoded.move_to(revision);
        encoded
    }
}

impl Encoded {
    fn move_to(&mut self, revision: Revision) {
        if self.revision != revision {
            *self = Self {
                revision,
                ..Self::default()
            };
        }
    }

    fn state(&mut self, policy: &Policy) -> Bytes {
        self.state
            .get_or_insert_with(|| convert::encode_state(policy.for_workers()))
            .clone()
    }

    fn delta(&mut self, policy: &Policy, held: Revision) -> Option<Bytes> {
        if held.epoch != policy.revision.epoch {
            return None;
        }
        let encode = || {
            let keys = policy.changed_since(held)?.into_iter();
            let changed = keys.filter(|key| key.kind().is_for_workers());
            let delta = convert::encode_delta(changed.map(|key| (key, policy.get(key))));
            Some(delta).filter(|delta| delta.len() <= LARGEST_DELTA)
        };
        self.deltas
            .entry(held.number)
            .or_insert_with(encode)
            .clone()
    }
}

/// Cuts a state into pieces that fit the contract. They share its memory.
pub(crate) fn chunks(mut state: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let next = state.split_to(state.len().min(CHUNK));
        (!next.is_empty()).then_some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Actor;

    async fn create_user(catalog: &Catalog, name: &str) {
        let actor = Actor::on_its_own("test");
        let created = catalog.create_user(&actor, name.into(), None).await;
        created.unwrap();
    }

    #[tokio::test]
    async fn one_who_holds_the_newest_gets_nothing() {
        let catalog = Catalog::in_memory().await;
        let mut feed = Feed::new(&catalog);

        let step = feed.step(Some(catalog.revision()));

        assert_eq!(step, Some(Step::Nothing));
    }

    #[tokio::test]
    async fn a_change_that_is_not_for_workers_still_leads_to_the_next_revision() {
        let catalog = Catalog::in_memory().await;
        let mut feed = Feed::new(&catalog);
        let held = catalog.revision();

        create_user(&catalog, "qnib").await;

        let expected = Change {
            base: held,
            revision: catalog.revision(),
            delta: Bytes::new(),
            digest: catalog.policy().digest,
        };
        assert_eq!(feed.step(Some(held)), Some(Step::Change(expected)));
    }

    #[tokio::test]
    async fn a_slow_one_gets_one_step_over_all_that_it_missed() {
        let catalog = Catalog::in_memory().await;
        let mut feed = Feed::new(&catalog);
        let held = catalog.revision();

        for name in ["a", "b", "c"] {
            create_user(&catalog, name).await;
        }

        let Some(Step::Change(Change { base, revision, .. })) = feed.step(Some(held)) else {
            panic!("a change was expected");
        };
        assert_eq!((base, revision), (held, catalog.revision()));
        assert_eq!(revision.number, held.number + 3);
    }

    #[tokio::test]
    async fn one_of_another_history_gets_everything() {
        let catalog = Catalog::in_memory().await;
        let mut feed = Feed::new(&catalog);
        let mut held = catalog.revision();
        held.epoch ^= 1;

        let step = feed.step(Some(held));

        assert_eq!(step, None);
    }

    #[tokio::test]
    async fn a_digest_is_compared_with_that_of_its_own_revision() {
        let catalog = Catalog::in_memory().await;
        let feed = Feed::new(&catalog);
        let (held, digest) = feed.newest();
        catalog
            .rotate_signing_keys(std::time::SystemTime::now())
            .await
            .unwrap();

        assert_ne!(feed.newest(), (held, digest));
        assert_eq!(feed.differs(held, digest), None);
        let other = StateDigest::of(b"other");
        assert_eq!(feed.differs(held, other), Some(digest));
    }

    #[tokio::test]
    async fn two_streams_share_one_encoding() {
        let catalog = Catalog::in_memory().await;
        let mut feed = Feed::new(&catalog);
        let mut other = feed.clone();

        let (one, two) = (feed.whole().state, other.whole().state);

        assert_eq!(one.as_ptr(), two.as_ptr());
    }

    #[test]
    fn chunks_put_together_are_the_state() {
        let state = Bytes::from(vec![7; 3 * CHUNK + 1]);

        let sizes: Vec<usize> = chunks(state).map(|chunk| chunk.len()).collect();

        assert_eq!(sizes, [CHUNK, CHUNK, CHUNK, 1]);
        assert_eq!(chunks(Bytes::new()).count(), 0);
    }
}
