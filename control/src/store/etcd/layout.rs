//! The keys and values in etcd.

use bytes::Bytes;
use prost::Message as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    EtcdError,
    pb::{
        Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest,
        compare, request_op::Request,
    },
};

/// The layout that this program writes.
pub(super) const SCHEMA: u32 = 1;

/// Where the history stands. Whoever changes anything changes this in the
/// same transaction, and compares that no one else has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) schema: u32,
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// The batch that led to `number`.
    pub(super) batch: String,
    /// A batch that is decided and leads to the next number as soon as all
    /// its pieces are in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
}

/// A batch that is too large for one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) batch: String,
    pub(super) pieces: u32,
}

/// A piece of what the log says of one revision.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogEntry {
    pub(super) batch: String,
    /// Keys of records.
    pub(super) keys: Vec<String>,
}

/// What the keys of one MetaHub start with.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// What all keys start with.
    pub(super) fn all(&self) -> String {
        format!("{}/", self.prefix)
    }

    /// The heads that MetaHubs with a part of this prefix would have.
    pub(super) fn heads_above(&self) -> Vec<String> {
        let cuts = self.prefix.match_indices('/').filter(|(at, _)| *at > 0);
        cuts.map(|(at, _)| format!("{}/head", &self.prefix[..at]))
            .collect()
    }

    pub(super) fn head(&self) -> String {
        format!("{}/head", self.prefix)
    }

    /// The record under `key`; with an empty one, what all records start with.
    pub(super) fn record(&self, key: &str) -> String {
        format!("{}/record/{key}", self.prefix)
    }

    /// What the whole log starts with.
    pub(super) fn all_log(&self) -> String {
        format!("{}/log/", self.prefix)
    }

    /// What all pieces of the log of `number` start with.
    pub(super) fn log(&self, number: u64) -> String {
        format!("{}/log/{number:016x}/", self.prefix)
    }

    pub(super) fn log_piece(&self, number: u64, piece: usize) -> String {
        format!("{}{piece:08x}", self.log(number))
    }

    /// What the whole audit starts with.
    pub(super) fn all_audit(&self) -> String {
        format!("{}/audit/", self.prefix)
    }

    /// The revision after which the audit is complete.
    pub(super) fn audit_reach(&self) -> String {
        format!("{}/audit-reach", self.prefix)
    }

    /// What all pieces of the audit of `number` start with.
    pub(super) fn audit(&self, number: u64) -> String {
        format!("{}/audit/{number:016x}/", self.prefix)
    }

    pub(super) fn audit_piece(&self, number: u64, piece: usize) -> String {
        format!("{}{piece:08x}", self.audit(number))
    }

    /// The key of the status `key`. An empty `key` gives the prefix of all.
    pub(super) fn status(&self, key: &str) -> String {
        format!("{}/status/{key}", self.prefix)
    }

    /// What is staged for the batches that would lead to `number`.
    pub(super) fn stage(&self, number: u64) -> String {
        format!("{}/stage/{number:016x}/", self.prefix)
    }

    pub(super) fn stage_piece(&self, number: u64, batch: &str, piece: u32) -> String {
        format!("{}{batch}/{piece:08x}", self.stage(number))
    }

    /// What all that replicas tell each other starts with.
    pub(super) fn all_presence(&self) -> String {
        format!("{}/replica/", self.prefix)
    }

    /// What all that one replica tells starts with.
    pub(super) fn presence(&self, replica: &str) -> String {
        format!("{}{replica}/", self.all_presence())
    }

    pub(super) fn presence_piece(&self, replica: &str, piece: usize) -> String {
        format!("{}{piece:08x}", self.presence(replica))
    }

    /// The number in a key of the log or of the audit.
    pub(super) fn number_of(&self, key: &[u8]) -> Option<u64> {
        let key = std::str::from_utf8(key).ok()?;
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let number = rest.split('/').nth(1)?;
        u64::from_str_radix(number, 16).ok()
    }

    /// The key of the record that is kept under `key`.
    pub(super) fn record_key<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&self.prefix)?.strip_prefix("/record/")
    }
}

/// Reads a value of this layout.
pub(super) fn read<T: DeserializeOwned>(kv: &KeyValue) -> Result<T, EtcdError> {
    serde_json::from_slice(&kv.value).map_err(|_| damaged(&kv.key))
}

pub(super) fn damaged(key: &[u8]) -> EtcdError {
    EtcdError::Damaged {
        key: String::from_utf8_lossy(key).into_owned(),
    }
}

/// Reads a staged piece.
pub(super) fn staged(kv: &KeyValue) -> Result<Vec<RequestOp>, EtcdError> {
    let piece = TxnRequest::decode(kv.value.clone()).map_err(|_| damaged(&kv.key))?;
    Ok(piece.success)
}

/// What a piece is staged as.
pub(super) fn to_stage(ops: Vec<RequestOp>) -> Vec<u8> {
    TxnRequest {
        success: ops,
        ..TxnRequest::default()
    }
    .encode_to_vec()
}

pub(super) fn put(key: String, value: Vec<u8>) -> RequestOp {
    put_leased(key, value, 0)
}

/// Puts what goes when the lease ends.
pub(super) fn put_leased(key: String, value: Vec<u8>, lease: i64) -> RequestOp {
    let put = PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
    };
    RequestOp {
        request: Some(Request::RequestPut(put)),
    }
}

pub(super) fn delete(key: String) -> RequestOp {
    delete_range(key, String::new())
}

/// Deletes from `start` up to but not including `end`.
pub(super) fn delete_range(start: String, end: String) -> RequestOp {
    let delete = DeleteRangeRequest {
        key: start.into(),
        range_end: end.into(),
    };
    RequestOp {
        request: Some(Request::RequestDeleteRange(delete)),
    }
}

pub(super) fn get(range: RangeRequest) -> RequestOp {
    RequestOp {
        request: Some(Request::RequestRange(range)),
    }
}

/// That `key` was last changed at `mod_revision`. Zero: there is none.
pub(super) fn unchanged(key: String, mod_revision: i64) -> Compare {
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key: key.into(),
        target_union: Some(compare::TargetUnion::ModRevision(mod_revision)),
    }
}

/// The first key behind all that start as `start` does.
pub(super) fn end_of(start: &str) -> String {
    // All keys of this layout are ASCII where they are cut.
    let mut end = start.to_owned();
    let last = end.pop().unwrap_or('/');
    end.push(char::from_u32(u32::from(last) + 1).unwrap_or('\u{7f}'));
    end
}

/// The first key behind `key`.
pub(super) fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// Everything that starts as `start` does.
pub(super) fn all_of(start: &str) -> RangeRequest {
    RangeRequest {
        key: start.to_owned().into(),
        range_end: end_of(start).into(),
        ..RangeRequest::default()
    }
}

/// One key.
pub(super) fn one(key: String) -> RangeRequest {
    RangeRequest {
        key: key.into(),
        ..RangeRequest::default()
    }
}
