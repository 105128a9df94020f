//! What copies of the policy in one process hold in common: for measurements
//! with more workers than one machine has memory for.

use std::sync::{Arc, Mutex, PoisonError};

use metahub_policy::StateDigest;

use crate::snapshot::{Records, Revision, Snapshot};

/// The whole policy that was taken last. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Option<Shelved>>>);

#[derive(Clone, Debug)]
struct Shelved {
    revision: Revision,
    records: Records,
    snapshot: Arc<Snapshot>,
}

impl Shelf {
    /// What another copy has made of the same records.
    pub(super) fn find(
        &self,
        revision: Revision,
        digest: StateDigest,
    ) -> Option<(Records, Arc<Snapshot>)> {
        let shelved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &&Shelved| it.revision == revision && it.records.digest() == digest;
        let same = shelved.as_ref().filter(same)?;
        Some((same.records.clone(), same.snapshot.clone()))
    }

    /// Offers what this copy has made.
    pub(super) fn put(&self, revision: Revision, records: &Records, snapshot: &Arc<Snapshot>) {
        let shelved = Shelved {
            revision,
            records: records.clone(),
            snapshot: snapshot.clone(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(shelved);
    }
}
