//! Purges, each carried out once: before anything is served by the first
//! snapshot that has it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing::info;

use super::Registry;
use crate::snapshot::Snapshot;

/// The purges that were carried out.
#[derive(Debug, Default)]
pub(super) struct Purges {
    done: Mutex<BTreeSet<Arc<str>>>,
    /// The address of the purges of the snapshot that was looked at last, which
    /// tells in one load that there is nothing to do.
    seen: AtomicUsize,
}

impl Registry {
    /// Drops what the purges in `snapshot` say. Other requests wait meanwhile.
    pub(super) fn carry_out_purges(&self, snapshot: &Snapshot) {
        let purges = snapshot.purges();
        let address = Arc::as_ptr(purges).addr();
        if self.purges.seen.load(Ordering::Acquire) == address {
            return;
        }
        let done = self.purges.done.lock();
        let mut done = done.unwrap_or_else(PoisonError::into_inner);
        for (key, purge) in purges.iter() {
            if !done.insert(Arc::clone(key)) {
                continue;
            }
            if let Some(scope) = purge.scope(snapshot) {
                self.puller.purge(&scope);
                self.answers.purge(&scope);
                self.trims.purge(&scope);
                info!(?purge, "dropped cached content");
            }
        }
        self.purges.seen.store(address, Ordering::Release);
    }
}
