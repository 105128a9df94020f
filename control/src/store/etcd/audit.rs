//! The audit: pieces by revision, in the order of the revisions.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Cluster,
    layout::{after, all_of, damaged, delete_range, one, put, read, unchanged},
    pb::{KeyValue, RangeRequest, RequestOp, TxnRequest},
    writer::about,
};
use crate::{
    audit::{AuditRecord, AuditedChange},
    catalog::Actor,
    records::Key,
    store::StoreError,
};

/// How many changes a piece holds.
const PIECE: usize = 100;
/// How many pieces are read at once.
const PAGE: i64 = 100;

/// A piece of what one revision changed.
#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    at_unix_ms: u64,
    actor: String,
    #[serde(default)]
    from: Option<IpAddr>,
    action: String,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Change {
    key: String,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
}

impl Cluster {
    /// What puts `record` into the audit.
    pub(super) fn audit_ops(&self, record: AuditRecord) -> Result<Vec<RequestOp>, StoreError> {
        let number = record.revision;
        let pieces = pieces(&record).into_iter().enumerate();
        pieces
            .map(|(at, piece)| {
                let key = self.layout.audit_piece(number, at);
                let value = serde_json::to_vec(&piece).map_err(about(&key))?;
                Ok(put(key, value))
            })
            .collect()
    }

    /// See [`Store::audit`](crate::store::Store::audit).
    pub(super) async fn audit(
        &self,
        after_revision: u64,
        most: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let (mut records, mut count) = (Vec::<AuditRecord>::new(), 0);
        let mut page = RangeRequest {
            key: self.layout.audit(after_revision + 1).into(),
            limit: PAGE,
            ..all_of(&self.layout.all_audit())
        };
        loop {
            let answer = self.client.range(page.clone()).await?;
            for kv in &answer.kvs {
                let record = self.audit_record(kv)?;
                let changes = record.changes.len();
                match records.last_mut() {
                    Some(last) if last.revision == record.revision => {
                        last.changes.extend(record.changes);
                    }
                    Some(_) if count >= most.max(1) => return Ok(records),
                    _ => records.push(record),
                }
                count += changes;
            }
            match answer.kvs.last() {
                Some(last) if answer.more => page.key = after(&last.key),
                _ => return Ok(records),
            }
        }
    }

    /// See [`Store::audit_reach`](crate::store::Store::audit_reach).
    pub(super) async fn audit_reach(&self) -> Result<u64, StoreError> {
        let answer = self.client.range(one(self.layout.audit_reach())).await?;
        let reach = answer.kvs.first().map(read).transpose()?;
        Ok(reach.unwrap_or_default())
    }

    /// See [`Store::sweep_audit`](crate::store::Store::sweep_audit).
    pub(super) async fn sweep_audit(&self, oldest_unix_ms: u64) -> Result<usize, StoreError> {
        let reach = self.client.range(one(self.layout.audit_reach())).await?;
        let reach = reach.kvs.first();
        let (last, count) = self.older_than(oldest_unix_ms).await?;
        if count == 0 {
            return Ok(0);
        }
        let end = self.layout.audit(last + 1);
        let sweep = TxnRequest {
            // Replicas that sweep at once do not take each other's reach back.
            compare: vec![unchanged(
                self.layout.audit_reach(),
                reach.map_or(0, |kv| kv.mod_revision),
            )],
            success: vec![
                delete_range(self.layout.audit(0), end),
                put(self.layout.audit_reach(), last.to_string().into_bytes()),
            ],
            failure: Vec::new(),
        };
        let swept = self.client.txn(sweep).await?.succeeded;
        Ok(if swept { count } else { 0 })
    }

    /// The last revision of those that are all older, and how many changes they
    /// hold.
    async fn older_than(&self, oldest_unix_ms: u64) -> Result<(u64, usize), StoreError> {
        let (mut last, mut count) = (0, 0);
        loop {
            let page = self.audit(last, PIECE).await?;
            if page.is_empty() {
                return Ok((last, count));
            }
            for record in page {
                if record.at_unix_ms >= oldest_unix_ms {
                    return Ok((last, count));
                }
                last = record.revision;
                count += record.changes.len();
            }
        }
    }

    fn audit_record(&self, kv: &KeyValue) -> Result<AuditRecord, StoreError> {
        let piece: Piece = read(kv)?;
        let changes = piece.changes.into_iter().map(|change| {
            let key = Key::parse(&change.key);
            Ok(AuditedChange {
                key: key.ok_or(StoreError::UnknownKey { key: change.key })?,
                before: change.before,
                after: change.after,
            })
        });
        Ok(AuditRecord {
            revision: self
                .layout
                .number_of(&kv.key)
                .ok_or_else(|| damaged(&kv.key))?,
            at_unix_ms: piece.at_unix_ms,
            actor: Actor::told_of(piece.actor, piece.from),
            action: piece.action,
            changes: changes.collect::<Result<_, StoreError>>()?,
        })
    }
}

fn pieces(record: &AuditRecord) -> Vec<Piece> {
    let piece = |changes: &[AuditedChange]| Piece {
        at_unix_ms: record.at_unix_ms,
        actor: record.actor.name.clone(),
        from: record.actor.from,
        action: record.action.clone(),
        changes: changes.iter().map(Change::of).collect(),
    };
    record.changes.chunks(PIECE).map(piece).collect()
}

impl Change {
    fn of(change: &AuditedChange) -> Self {
        Self {
            key: change.key.as_str().to_owned(),
            before: change.before.clone(),
            after: change.after.clone(),
        }
    }
}
