//! The worker's copy of the policy: takes events one by one, publishes each
//! revision whole or not at all. No network.

use std::sync::Arc;

use tracing::{info, warn};

use super::{keeper::Keeper, sealed::Kept};
use crate::{
    convert::{self, Event},
    snapshot::{self, Current, Records, Revision},
};

/// The largest snapshot that is taken, in bytes.
const MAX_SNAPSHOT: u64 = 1 << 30;
/// What is set aside at once for a snapshot that is said to be larger.
const MAX_RESERVED: u64 = 16 << 20;
/// How many heartbeats in a row may name a revision that has not come.
const MAX_BEHIND: u8 = 2;

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
        };
        if let Some(kept) = kept {
            replica.restore(kept);
        }
        replica
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
        self.serve(kept.revision, &kept.state);
    }

    /// The revision that is served.
    pub(crate) fn held(&self) -> Option<Revision> {
        self.held
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
            Event::Commit(revision) => return self.commit(revision),
            Event::Change {
                base,
                revision,
                delta,
            } => return self.change(base, revision, &delta),
            Event::Heartbeat(newest) => self.heartbeat(newest)?,
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

    fn commit(&mut self, revision: Revision) -> Result<Outcome, OutOfStep> {
        let transfer = self.transfer.take().ok_or(OutOfStep::NotBegun)?;
        if transfer.revision != revision || transfer.bytes.len() as u64 != transfer.size {
            return Err(OutOfStep::NotAsAnnounced);
        }
        Ok(self.serve(revision, &transfer.bytes))
    }

    /// Serves an encoded `State`.
    fn serve(&mut self, revision: Revision, state: &[u8]) -> Outcome {
        let records = match convert::state(state) {
            Ok(records) => records,
            Err(error) => return self.refuse(revision, error.to_string()),
        };
        let before = std::mem::replace(&mut self.records, records);
        let outcome = self.publish(revision, |records| *records = before);
        if let (Outcome::Applied(_), Some(keeper)) = (&outcome, &self.keeper) {
            keeper.whole(revision, state);
        }
        outcome
    }

    fn change(
        &mut self,
        base: Revision,
        revision: Revision,
        delta: &[u8],
    ) -> Result<Outcome, OutOfStep> {
        if self.held != Some(base) {
            return Err(OutOfStep::WrongBase { base });
        }
        let read = match convert::delta(delta) {
            Ok(read) => read,
            Err(error) => return Ok(self.refuse(revision, error.to_string())),
        };
        let undo = self.records.apply(read);
        let outcome = self.publish(revision, |records| records.undo(undo));
        if let (Outcome::Applied(_), Some(keeper)) = (&outcome, &self.keeper) {
            keeper.change(revision, delta);
        }
        Ok(outcome)
    }

    /// Serves the records as `revision`, or takes them back.
    fn publish(&mut self, revision: Revision, undo: impl FnOnce(&mut Records)) -> Outcome {
        let previous = self.current.load();
        match snapshot::build(revision, &self.records, previous.as_deref()) {
            Ok(snapshot) => {
                self.current.publish(Arc::new(snapshot));
                self.current.named(revision);
                self.held = Some(revision);
                info!(policy.revision = %revision, "took policy {revision}");
                Outcome::Applied(revision)
            }
            Err(error) => {
                undo(&mut self.records);
                self.refuse(revision, error.to_string())
            }
        }
    }

    fn refuse(&mut self, revision: Revision, reason: String) -> Outcome {
        warn!(policy.revision = %revision, reason, "refused policy {revision}");
        self.current.named(revision);
        self.current.rejected();
        self.refused = Some(revision);
        Outcome::Rejected(revision, reason)
    }

    /// A change that is under way may arrive after a heartbeat that names it,
    /// but not after the next one.
    fn heartbeat(&mut self, newest: Option<Revision>) -> Result<(), OutOfStep> {
        let Some(newest) = newest else { return Ok(()) };
        self.current.named(newest);
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
