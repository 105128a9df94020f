//! Writing: one batch, whole or not at all, exactly once.
//!
//! A batch that fits is one transaction. A larger one is staged in pieces that
//! no reader looks at; the transaction that decides it makes it the head's
//! pending batch, and from then on any replica can put its pieces in place,
//! since each contains exactly the keys and values to write.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tracing::debug;

use super::{
    Cluster, EtcdError,
    layout::{
        Head, LogEntry, Pending, SCHEMA, damaged, delete, delete_range, end_of, one, put, read,
        staged, to_stage, unchanged,
    },
    pb::{RequestOp, TxnRequest},
    reader::{Known, Seen, answered, reads},
};
use crate::{
    audit::AuditRecord,
    secrets,
    store::{Batch, Change, Revision, StoreError},
};

/// How many revisions the log remembers.
pub(super) const LOGGED_REVISIONS: u64 = 1_000;
/// How many operations a piece holds. etcd allows 128 in a transaction, and
/// the head and what is swept come on top.
const PIECE_OPS: usize = 100;
/// What a piece may weigh. etcd allows 1.5 MiB for a request.
const PIECE_BYTES: usize = 768 << 10;
/// How many keys a piece of the log names.
const LOGGED_KEYS: usize = 2_000;
/// How many pieces are on their way at once.
const PIECES_AT_ONCE: usize = 4;

/// What a batch writes, apart from the head.
pub(super) struct Plan {
    pub(super) batch: String,
    pieces: Vec<Vec<RequestOp>>,
}

impl Cluster {
    /// Makes `batch` durable if the store is still at `expected`.
    ///
    /// An answer that got lost does not matter: the log tells whether the
    /// batch was committed.
    pub(super) async fn commit(&self, expected: u64, batch: &Batch) -> Result<Known, StoreError> {
        let plan = self.plan(expected + 1, batch)?;
        let revision = match self.commit_plan(expected, &plan).await {
            // Whatever a later try met: an earlier one may have come through.
            Err(StoreError::Etcd(EtcdError::Refused { node, reason })) => {
                let seen = self.settled_head().await?;
                match self.is_committed(&seen, expected + 1, &plan).await? {
                    true => revision(&seen.head, expected + 1),
                    false => return Err(EtcdError::Refused { node, reason }.into()),
                }
            }
            committed => committed?,
        };
        let batch = plan.batch;
        Ok(Known { revision, batch })
    }

    pub(super) async fn commit_plan(
        &self,
        expected: u64,
        plan: &Plan,
    ) -> Result<Revision, StoreError> {
        let mut is_staged = false;
        loop {
            let seen = self.settled_head().await?;
            if seen.head.number != expected {
                return match self.is_committed(&seen, expected + 1, plan).await? {
                    true => Ok(revision(&seen.head, expected + 1)),
                    false => Err(StoreError::Conflict { expected }),
                };
            }
            match &plan.pieces[..] {
                [ops] => self.write_at_once(&seen, plan, ops.clone()).await?,
                _ => {
                    if !is_staged {
                        self.stage(expected + 1, plan).await?;
                        is_staged = true;
                    }
                    self.decide(&seen, plan).await?;
                }
            }
        }
    }

    /// Whether `number` is what `plan` led to.
    async fn is_committed(
        &self,
        seen: &Seen,
        number: u64,
        plan: &Plan,
    ) -> Result<bool, StoreError> {
        if seen.head.number <= number {
            return Ok(seen.head.number == number && seen.head.batch == plan.batch);
        }
        let first = one(self.layout.log_piece(number, 0));
        let answer = self.client.range(first).await?;
        let entry = answer.kvs.first().map(read::<LogEntry>).transpose()?;
        Ok(entry.is_some_and(|entry| entry.batch == plan.batch))
    }

    async fn write_at_once(
        &self,
        seen: &Seen,
        plan: &Plan,
        mut ops: Vec<RequestOp>,
    ) -> Result<(), StoreError> {
        let next = Head {
            number: seen.head.number + 1,
            batch: plan.batch.clone(),
            ..seen.head.clone()
        };
        ops.extend(self.sweep(next.number));
        self.move_head(seen, &next, ops).await
    }

    /// Nothing that is staged shows until [`Cluster::decide`].
    pub(super) async fn stage(&self, number: u64, plan: &Plan) -> Result<(), StoreError> {
        let pieces = plan.pieces.iter().zip(0..);
        let puts = pieces.map(|(ops, piece)| {
            let key = self.layout.stage_piece(number, &plan.batch, piece);
            let put = put(key, to_stage(ops.clone()));
            self.client.txn(TxnRequest {
                success: vec![put],
                ..TxnRequest::default()
            })
        });
        let puts: Vec<_> = puts.collect();
        let staging = stream::iter(puts).buffer_unordered(PIECES_AT_ONCE);
        staging.try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    /// Makes a staged batch the next one.
    pub(super) async fn decide(&self, seen: &Seen, plan: &Plan) -> Result<(), StoreError> {
        let pieces = u32::try_from(plan.pieces.len()).unwrap_or(u32::MAX);
        let decided = Head {
            pending: Some(Pending {
                batch: plan.batch.clone(),
                pieces,
            }),
            ..seen.head.clone()
        };
        self.move_head(seen, &decided, Vec::new()).await
    }

    /// Puts the pending batch of `seen` in place, unless someone else has.
    pub(super) async fn settle(&self, seen: &Seen) -> Result<(), StoreError> {
        let Some(pending) = &seen.head.pending else {
            return Ok(());
        };
        let number = seen.head.number + 1;
        debug!("putting {} pieces of {number} in place", pending.pieces);
        let pieces = (0..pending.pieces).map(|piece| {
            let key = self.layout.stage_piece(number, &pending.batch, piece);
            self.put_in_place(seen, key)
        });
        let pieces: Vec<_> = pieces.collect();
        let placing = stream::iter(pieces).buffer_unordered(PIECES_AT_ONCE);
        placing.try_for_each(|()| async { Ok(()) }).await?;
        let next = Head {
            number,
            batch: pending.batch.clone(),
            pending: None,
            ..seen.head.clone()
        };
        self.move_head(seen, &next, self.sweep(number)).await
    }

    async fn put_in_place(&self, seen: &Seen, staged_as: String) -> Result<(), StoreError> {
        let both = reads([one(staged_as.clone()), one(self.layout.head())]);
        let [piece, head] = answered(self.client.txn(both).await?);
        let is_unmoved = head.kvs.iter().any(|kv| kv.mod_revision == seen.written_at);
        match piece.kvs.first() {
            Some(kv) => self.if_unmoved(seen, staged(kv)?).await,
            None if is_unmoved => Err(damaged(staged_as.as_bytes()).into()),
            // Someone else has settled the batch, and swept.
            None => Ok(()),
        }
    }

    async fn move_head(
        &self,
        seen: &Seen,
        next: &Head,
        mut ops: Vec<RequestOp>,
    ) -> Result<(), StoreError> {
        ops.push(self.put_head(next)?);
        self.if_unmoved(seen, ops).await
    }

    /// Does all of `ops` if the head is still the one that was seen, and
    /// nothing otherwise.
    pub(super) async fn if_unmoved(
        &self,
        seen: &Seen,
        ops: Vec<RequestOp>,
    ) -> Result<(), StoreError> {
        let guarded = TxnRequest {
            compare: vec![unchanged(self.layout.head(), seen.written_at)],
            success: ops,
            failure: Vec::new(),
        };
        self.client.txn(guarded).await?;
        Ok(())
    }

    /// Begins a history, unless another control plane has.
    pub(super) async fn create_head(&self) -> Result<(), StoreError> {
        let head = Head {
            schema: SCHEMA,
            // The other engine keeps 63 bits.
            epoch: secrets::random_u64() >> 1,
            number: 0,
            batch: String::new(),
            pending: None,
        };
        let mut ops = self.leftovers();
        ops.push(self.put_head(&head)?);
        let create = TxnRequest {
            compare: vec![unchanged(self.layout.head(), 0)],
            success: ops,
            failure: Vec::new(),
        };
        self.client.txn(create).await?;
        Ok(())
    }

    /// Deletes all that there may be without a head.
    pub(super) fn leftovers(&self) -> Vec<RequestOp> {
        let starts = [
            self.layout.record(""),
            self.layout.all_log(),
            self.layout.all_audit(),
            self.layout.audit_reach(),
            self.layout.status(""),
            self.layout.stage(0),
        ];
        let all = starts.into_iter().map(|start| {
            let end = end_of(&start);
            delete_range(start, end)
        });
        all.collect()
    }

    pub(super) fn put_head(&self, head: &Head) -> Result<RequestOp, StoreError> {
        let key = self.layout.head();
        let value = serde_json::to_vec(head).map_err(about(&key))?;
        Ok(put(key, value))
    }

    /// What goes when `number` is reached: the oldest of the log, and all that
    /// was staged for this number or one before it, by whomever.
    fn sweep(&self, number: u64) -> Vec<RequestOp> {
        let first_kept = (number + 1).saturating_sub(LOGGED_REVISIONS);
        let last_staged = end_of(&self.layout.stage(number));
        let mut sweep = vec![delete_range(self.layout.stage(0), last_staged)];
        if first_kept > 0 {
            let end = self.layout.log(first_kept);
            sweep.push(delete_range(self.layout.log(0), end));
        }
        sweep
    }

    pub(super) fn plan(&self, number: u64, batch: &Batch) -> Result<Plan, StoreError> {
        let id = format!("{:016x}", secrets::random_u64());
        let mut ops = Vec::new();
        for change in &batch.changes {
            ops.push(self.record_op(change)?);
        }
        let keys = batch.changes.iter().map(|change| change.key.as_str());
        ops.extend(self.log_ops(number, &id, keys)?);
        let audited = AuditRecord::of(number, batch).map_err(about("audit"))?;
        if let Some(record) = audited {
            ops.extend(self.audit_ops(record)?);
        }
        Ok(Plan {
            batch: id,
            pieces: pieces(ops),
        })
    }

    fn record_op(&self, change: &Change) -> Result<RequestOp, StoreError> {
        let key = self.layout.record(change.key.as_str());
        match &change.after {
            Some(record) => {
                let json = record.to_json().map_err(about(change.key.as_str()))?;
                Ok(put(key, json.into_bytes()))
            }
            None => Ok(delete(key)),
        }
    }

    /// What the log says of `number`.
    pub(super) fn log_ops<'a>(
        &self,
        number: u64,
        batch: &str,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<RequestOp>, StoreError> {
        let keys: Vec<String> = keys.map(str::to_owned).collect();
        let pieces = keys.chunks(LOGGED_KEYS).enumerate();
        pieces
            .map(|(piece, keys)| {
                let entry = LogEntry {
                    batch: batch.to_owned(),
                    keys: keys.to_vec(),
                };
                let key = self.layout.log_piece(number, piece);
                let value = serde_json::to_vec(&entry).map_err(about(&key))?;
                Ok(put(key, value))
            })
            .collect()
    }
}

/// Cuts operations into what one transaction may hold.
pub(super) fn pieces(ops: Vec<RequestOp>) -> Vec<Vec<RequestOp>> {
    let mut pieces = vec![Vec::new()];
    let mut weight = 0;
    for op in ops {
        let own = op.encoded_len();
        let is_full = |piece: &Vec<RequestOp>| {
            piece.len() >= PIECE_OPS || (!piece.is_empty() && weight + own > PIECE_BYTES)
        };
        if pieces.last().is_none_or(is_full) {
            pieces.push(Vec::new());
            weight = 0;
        }
        weight += own;
        if let Some(piece) = pieces.last_mut() {
            piece.push(op);
        }
    }
    pieces
}

fn revision(head: &Head, number: u64) -> Revision {
    Revision {
        epoch: head.epoch,
        number,
    }
}

/// What an error of a value says.
pub(super) fn about(key: &str) -> impl Fn(serde_json::Error) -> StoreError {
    move |source| StoreError::Record {
        key: key.to_owned(),
        source,
    }
}
