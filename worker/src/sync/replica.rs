//! The worker's copy of the policy: takes events one by one, publishes each
//! revision whole or not at all. No network.

use std::sync::Arc;

use bytes::Bytes;
use metahub_policy::StateDigest;
use tracing::{info, warn};

use super::{keeper::Keeper, sealed::Kept, shelf::Shelf};
use crate::{
    convert::{self, Claim, Event},
    snapshot::{self, Current, InvalidPolicy, Records, Revision, Snapshot},
};

/// The largest snapshot that is taken, in bytes.
const MAX_SNAPSHOT: u64 = 1 << 30;
/// What is set aside at once for a snapshot that is said to be larger.
const MAX_RESERVED: u64 = 16 << 20;
/// How many heartbeats in a row may name a revision that has not come.
const MAX_BEHIND: u8 = 10;

/// Why the policy of a new store is not taken.
const EMPTIED: &str = "it is of another store and has no login, as after the loss of the control \
     plane's store; if it is meant, create its first login, or restart this worker without a kept \
     policy";

/// A copy of the policy.
#[derive(Debug)]
pub(crate) struct Replica {
    current: Arc<Current>,
    records: Records,
    held: Option<Revision>,
    refused: Option<Revision>,
    transfer: Option<Transfer>,
    behind: u8,
    keeper: Option<Arc<Keeper>>,
    shelf: Option<Shelf>,
    /// Why the records are not what they should be.
    distrust: Option<String>,
}

/// A snapshot of which not all chunks are here.
#[derive(Debug)]
struct Transfer {
    revision: Revision,
    size: u64,
    bytes: Vec<u8>,
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to say.
    Quiet,
    /// The revision is served now.
    Applied(Revision),
    /// The revision was refused, and why. The one before is served.
    Rejected(Revision, String),
}

/// The two sides no longer mean the same: only a new stream helps.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum OutOfStep {
    /// A chunk or a commit outside of a snapshot.
    #[error("it sent a part of a snapshot that it had not begun")]
    NotBegun,
    /// A snapshot over the limit.
    #[error("it announced a snapshot of {0} bytes, which is too large")]
    TooLarge(u64),
    /// The chunks are not what was announced.
    #[error("it sent a snapshot of another size or revision than announced")]
    NotAsAnnounced,
    /// A change to a revision that is not held.
    #[error("it sent a change to {base}, which is not what the worker holds")]
    WrongBase {
        /// What the change applies to.
        base: Revision,
    },
    /// The records are not those of the control plane.
    #[error("its digest of {revision} is {expected}, but the worker's copy has {found}")]
    Differs {
        /// The revision that should be equal.
        revision: Revision,
        /// The control plane's digest.
        expected: StateDigest,
        /// The worker's.
        found: StateDigest,
    },
    /// A revision was announced and never came.
    #[error("it has {0} but did not send it")]
    Behind(Revision),
}

impl Replica {
    /// A copy that publishes to `current`. With what `keeper` has kept, or
    /// empty.
    pub(crate) fn new(current: Arc<Current>, keeper: Option<Arc<Keeper>>) -> Self {
        let kept = keeper.as_ref().and_then(|keeper| keeper.read());
        let mut replica = Self {
            current,
            records: Records::default(),
            held: None,
            refused: None,
            transfer: None,
            behind: 0,
            keeper,
            shelf: None,
            distrust: None,
        };
        if let Some(kept) = kept {
            replica.restore(kept);
        }
        replica
    }

    /// Shares whole policies with the copies of `shelf`.
    pub(super) fn share(&mut self, shelf: Shelf) {
        self.shelf = Some(shelf);
    }

    /// Serves what an earlier run has kept, as old as it is.
    fn restore(&mut self, kept: Kept) {
        // A clock that was set back makes it new.
        let age = kept.heard.elapsed().unwrap_or_default();
        self.current.heard_ago(age);
        info!(
            "start with a policy from {} ago",
            humantime::format_duration(age)
        );
        let state = Bytes::from(kept.state);
        match convert::state(state.clone()) {
            Ok(records) => self.serve(kept.revision, records, state),
            Err(error) => self.refuse(kept.revision, error.to_string()),
        };
    }

    /// The revision that is served, and the digest of its records.
    pub(crate) fn held(&self) -> Option<(Revision, StateDigest)> {
        self.held.map(|held| (held, self.records.digest()))
    }

    /// What to say at the start of a stream.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            held: self.held().filter(|_| self.distrust.is_none()),
            distrust: self.distrust.clone(),
        }
    }

    /// Whether a snapshot has begun and is not complete.
    pub(crate) fn is_half_told(&self) -> bool {
        self.transfer.is_some()
    }

    /// Prepares for a new stream: forgets half of a snapshot.
    pub(crate) fn begin_stream(&mut self) {
        self.transfer = None;
        self.refused = None;
        self.behind = 0;
    }

    /// Takes one event.
    pub(crate) fn take(&mut self, event: Event) -> Result<Outcome, OutOfStep> {
        self.current.heard();
        match event {
            Event::Begin { revision, size } => self.begin(revision, size)?,
            Event::Chunk(bytes) => self.chunk(&bytes)?,
            Event::Commit { revision, digest } => return self.commit(revision, digest),
            Event::Change {
                base,
                revision,
                delta,
                digest,
            } => {
                if self.held != Some(base) {
                    return Err(OutOfStep::WrongBase { base });
                }
                return self.change(revision, delta, digest);
            }
            Event::Heartbeat { newest, digest } => self.heartbeat(newest, digest)?,
            Event::Unknown => {}
        }
        Ok(Outcome::Quiet)
    }

    fn begin(&mut self, revision: Revision, size: u64) -> Result<(), OutOfStep> {
        if size > MAX_SNAPSHOT {
            return Err(OutOfStep::TooLarge(size));
        }
        let reserved = usize::try_from(size.min(MAX_RESERVED)).unwrap_or_default();
        self.transfer = Some(Transfer {
            revision,
            size,
            bytes: Vec::with_capacity(reserved),
        });
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), OutOfStep> {
        let transfer = self.transfer.as_mut().ok_or(OutOfStep::NotBegun)?;
        transfer.bytes.extend_from_slice(bytes);
        if transfer.bytes.len() as u64 > transfer.size {
            return Err(OutOfStep::NotAsAnnounced);
        }
        Ok(())
    }

    fn commit(
        &mut self,
        revision: Revision,
        digest: Option<StateDigest>,
    ) -> Result<Outcome, OutOfStep> {
        let transfer = self.transfer.take().ok_or(OutOfStep::NotBegun)?;
        if transfer.revision != revision || transfer.bytes.len() as u64 != transfer.size {
            return Err(OutOfStep::NotAsAnnounced);
        }
        let state = Bytes::from(transfer.bytes);
        let records = match convert::state(state.clone()) {
            Ok(records) => records,
            Err(error) => return Ok(self.refuse(revision, error.to_string())),
        };
        self.compare(revision, digest, records.digest())?;
        self.distrust = None;
        self.current.took_whole();
        Ok(self.serve(revision, records, state))
    }

    /// Serves `records`, which `state` was read to be.
    fn serve(&mut self, revision: Revision, records: Records, state: Bytes) -> Outcome {
        let shared = self.shelf.as_ref();
        let shared = shared.and_then(|it| it.find(revision, records.digest()));
        let (records, built) = match shared {
            Some((records, snapshot)) => (records, Ok(snapshot)),
            None => {
                let previous = self.current.load_full();
                let built = snapshot::build(revision, &records, previous.as_deref());
                (records, built.map(Arc::new))
            }
        };
        let outcome = self.publish(revision, records, built);
        self.offer(revision);
        if let (Outcome::Applied(_), Some(keeper)) = (&outcome, &self.keeper) {
            keeper.whole(revision, state);
        }
        outcome
    }

    fn offer(&self, revision: Revision) {
        if let (Some(shelf), Some(snapshot)) = (&self.shelf, self.current.load_full())
            && self.held == Some(revision)
        {
            shelf.put(revision, &self.records, &snapshot);
        }
    }

    fn change(
        &mut self,
        revision: Revision,
        delta: Bytes,
        digest: Option<StateDigest>,
    ) -> Result<Outcome, OutOfStep> {
        let read = match convert::delta(delta.clone()) {
            Ok(read) => read,
            Err(error) => return Ok(self.refuse(revision, error.to_string())),
        };
        let mut records = self.records.clone();
        let edits = records.apply(read);
        self.compare(revision, digest, records.digest())?;
        let built = match self.current.load_full() {
            Some(previous) => snapshot::update(revision, &records, &edits, &previous),
            None => snapshot::build(revision, &records, None),
        };
        let outcome = self.publish(revision, records, built.map(Arc::new));
        if let (Outcome::Applied(_), Some(keeper)) = (&outcome, &self.keeper) {
            keeper.change(revision, delta);
        }
        Ok(outcome)
    }

    /// Serves what was built of `records`, or refuses both.
    fn publish(
        &mut self,
        revision: Revision,
        records: Records,
        built: Result<Arc<Snapshot>, InvalidPolicy>,
    ) -> Outcome {
        let snapshot = match built {
            Ok(snapshot) => snapshot,
            Err(error) => return self.refuse(revision, error.to_string()),
        };
        if self.would_be_emptied(&snapshot) {
            return self.refuse(revision, EMPTIED.into());
        }
        self.records = records;
        self.current.publish(snapshot);
        self.current.named(revision);
        self.held = Some(revision);
        info!(policy.revision = %revision, "took policy {revision}");
        Outcome::Applied(revision)
    }

    /// Whether the policy of a control plane that has lost its store is about to
    /// take the place of one that hosts log in by.
    fn would_be_emptied(&self, next: &Snapshot) -> bool {
        let held = self.current.load_full();
        let is_other = held.filter(|held| held.revision().epoch != next.revision().epoch);
        is_other.is_some_and(|held| held.has_logins()) && !next.has_logins()
    }

    fn refuse(&mut self, revision: Revision, reason: String) -> Outcome {
        warn!(policy.revision = %revision, reason, "refused policy {revision}");
        self.current.named(revision);
        self.current.rejected();
        self.refused = Some(revision);
        Outcome::Rejected(revision, reason)
    }

    /// Finds out whether records are what the control plane says they are.
    fn compare(
        &mut self,
        revision: Revision,
        told: Option<StateDigest>,
        found: StateDigest,
    ) -> Result<(), OutOfStep> {
        let Some(expected) = told.filter(|told| *told != found) else {
            return Ok(());
        };
        let differs = OutOfStep::Differs {
            revision,
            expected,
            found,
        };
        self.current.mismatched();
        self.distrust = Some(differs.to_string());
        Err(differs)
    }

    /// A change that is under way may arrive after a heartbeat that names it,
    /// but not for ever.
    fn heartbeat(
        &mut self,
        newest: Option<Revision>,
        digest: Option<StateDigest>,
    ) -> Result<(), OutOfStep> {
        let Some(newest) = newest else { return Ok(()) };
        self.current.named(newest);
        if self.held == Some(newest) && !self.is_half_told() {
            self.compare(newest, digest, self.records.digest())?;
        }
        let known = self.held == Some(newest) || self.refused == Some(newest);
        if known || self.transfer.is_some() {
            self.behind = 0;
            return Ok(());
        }
        self.behind += 1;
        if self.behind >= MAX_BEHIND {
            return Err(OutOfStep::Behind(newest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
