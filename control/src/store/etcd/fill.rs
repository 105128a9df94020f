//! Putting a whole store into an empty cluster.
//!
//! The head comes last, so nothing shows before everything is there; each
//! piece before it is written only while there is no head. What one that
//! stopped half-way leaves goes when a history begins.

use super::{
    Cluster,
    layout::{Head, SCHEMA, put, unchanged},
    pb::{RequestOp, TxnRequest},
    writer::{about, pieces},
};
use crate::{
    records::Key,
    store::{StoreError, whole::Whole},
};

impl Cluster {
    pub(super) async fn fill(&self, whole: Whole) -> Result<(), StoreError> {
        let head = Head {
            schema: SCHEMA,
            epoch: whole.contents.revision.epoch,
            number: whole.contents.revision.number,
            batch: String::new(),
            pending: None,
        };
        self.check_neighbours().await?;
        self.while_empty(self.leftovers()).await?;
        for piece in pieces(self.ops_of(whole)?) {
            self.while_empty(piece).await?;
        }
        self.while_empty(vec![self.put_head(&head)?]).await
    }

    /// Does all of `ops` if there is no head.
    async fn while_empty(&self, ops: Vec<RequestOp>) -> Result<(), StoreError> {
        let guarded = TxnRequest {
            compare: vec![unchanged(self.layout.head(), 0)],
            success: ops,
            failure: Vec::new(),
        };
        match self.client.txn(guarded).await?.succeeded {
            true => Ok(()),
            false => Err(StoreError::NotEmpty),
        }
    }

    fn ops_of(&self, whole: Whole) -> Result<Vec<RequestOp>, StoreError> {
        let mut ops = Vec::new();
        for (key, record) in whole.contents.records {
            let json = record.to_json().map_err(about(key.as_str()))?;
            ops.push(put(self.layout.record(key.as_str()), json.into_bytes()));
        }
        for (number, keys) in whole.contents.recent {
            ops.extend(self.log_ops(number, "", keys.iter().map(Key::as_str))?);
        }
        for record in whole.audit {
            ops.extend(self.audit_ops(record)?);
        }
        for (key, value) in whole.statuses {
            ops.push(put(self.layout.status(&key), value.into_bytes()));
        }
        if whole.audit_reach > 0 {
            let reach = whole.audit_reach.to_string();
            ops.push(put(self.layout.audit_reach(), reach.into_bytes()));
        }
        Ok(ops)
    }
}
