//! Reading: everything, or what changed since.
//!
//! Each reading is of one revision of etcd, at which no batch was half in
//! place, so it shows whole commits and nothing in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Cluster, EtcdError,
    layout::{Head, LogEntry, SCHEMA, after, all_of, damaged, get, one, read},
    pb::{KeyValue, RangeRequest, RangeResponse, TxnRequest, TxnResponse, response_op::Response},
};
use crate::{
    records::{Key, Record},
    store::{Change, Commit, Contents, News, Revision, StoreError},
};

/// How many keys one page holds.
const PAGE: i64 = 1_000;
/// How many keys are read by name in one transaction. etcd allows 128.
const KEYS_AT_ONCE: usize = 100;
/// With more changed keys than this, reading everything is no more work.
const MOST_CHANGED: usize = 2_000;

/// The head as it was at one revision of etcd.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: Head,
    /// The revision of etcd at which the head was written.
    pub(super) written_at: i64,
    /// The revision of etcd at which it was read.
    pub(super) read_at: i64,
}

/// A revision that was read, and the batch that led to it: after a restore of
/// etcd, another batch can have led to the same revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) revision: Revision,
    pub(super) batch: String,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) contents: Contents,
    /// What it is.
    pub(super) known: Known,
    /// The revision of etcd that it is of.
    pub(super) read_at: i64,
}

/// What there is beyond what is known.
#[derive(Debug)]
pub(super) enum Beyond {
    /// Nothing.
    Nothing,
    /// A batch is decided and not yet in place.
    Pending(Seen),
    News(News, Known),
}

impl Cluster {
    /// Whether MetaHub uses the prefix.
    pub(super) async fn has_head(&self) -> Result<bool, StoreError> {
        let answer = self.client.range(one(self.layout.head())).await?;
        Ok(!answer.kvs.is_empty())
    }

    /// The head. One that is gone is not made anew: all else would go with it.
    pub(super) async fn head(&self) -> Result<Seen, StoreError> {
        let answer = self.client.range(one(self.layout.head())).await?;
        let read_at = revision_of(&answer);
        match answer.kvs.first() {
            Some(kv) => seen(kv, read_at),
            None => Err(EtcdError::Gone {
                key: self.layout.head(),
            }
            .into()),
        }
    }

    /// Refuses a prefix that is above or below that of another MetaHub: each
    /// would take the other's keys for its own.
    pub(super) async fn check_neighbours(&self) -> Result<(), StoreError> {
        let mut found = self.pages(&self.layout.all(), 0).await?;
        for head in self.layout.heads_above() {
            // A user of etcd may not be allowed to look there.
            let answer = self.client.range(one(head)).await;
            found.extend(answer.unwrap_or_default().kvs);
        }
        let own = self.layout.head();
        let other = |kv: &KeyValue| {
            // Another replica may have been faster.
            if kv.key == own {
                return None;
            }
            let key = String::from_utf8_lossy(&kv.key);
            let prefix = key.strip_suffix("/head")?.to_owned();
            read::<Head>(kv).ok().map(|_| prefix)
        };
        match found.iter().find_map(other) {
            Some(other) => Err(EtcdError::Nested {
                prefix: self.layout.all(),
                other,
            }
            .into()),
            None => Ok(()),
        }
    }

    /// The head when no batch is half in place.
    pub(super) async fn settled_head(&self) -> Result<Seen, StoreError> {
        loop {
            let seen = self.head().await?;
            if seen.head.pending.is_none() {
                return Ok(seen);
            }
            self.settle(&seen).await?;
        }
    }

    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        loop {
            let seen = self.settled_head().await?;
            match self.load_at(&seen).await {
                Err(StoreError::Etcd(EtcdError::Compacted)) => {}
                loaded => {
                    return Ok(Loaded {
                        contents: loaded?,
                        known: seen.head.known(),
                        read_at: seen.read_at,
                    });
                }
            }
        }
    }

    async fn load_at(&self, seen: &Seen) -> Result<Contents, StoreError> {
        let records = self.pages(&self.layout.record(""), seen.read_at).await?;
        let log = self.pages(&self.layout.all_log(), seen.read_at).await?;
        let records = records.iter().map(|kv| self.record(kv));
        Ok(Contents {
            revision: seen.head.revision(),
            records: records.collect::<Result<_, StoreError>>()?,
            recent: self.log(&log)?.into_iter().collect(),
        })
    }

    /// What there is beyond `known`, and the revision of etcd that it is of.
    pub(super) async fn beyond(&self, known: &Known) -> Result<(Beyond, i64), StoreError> {
        loop {
            match self.beyond_once(known).await {
                Err(StoreError::Etcd(EtcdError::Compacted)) => {}
                beyond => return beyond,
            }
        }
    }

    async fn beyond_once(&self, known: &Known) -> Result<(Beyond, i64), StoreError> {
        let mut log = all_of(&self.layout.all_log());
        log.key = self.layout.log(known.revision.number).into();
        let head = one(self.layout.head());
        let answer = self.client.txn(reads([head, log])).await?;
        let [head, log] = answered(answer);
        let read_at = revision_of(&head);
        let Some(kv) = head.kvs.first() else {
            return Err(EtcdError::Gone {
                key: self.layout.head(),
            }
            .into());
        };
        let seen = seen(kv, read_at)?;
        if seen.head.pending.is_some() {
            return Ok((Beyond::Pending(seen), read_at));
        }
        let next = seen.head.known();
        if next == *known {
            return Ok((Beyond::Nothing, read_at));
        }
        let leads_on = next.revision.epoch == known.revision.epoch
            && next.revision.number > known.revision.number
            && self.follows(&log.kvs, known)?;
        let mut log = self.log(&log.kvs)?;
        log.remove(&known.revision.number);
        let keys: BTreeSet<Key> = log.into_values().flatten().collect();
        if !leads_on || keys.len() > MOST_CHANGED {
            let Loaded {
                contents,
                known,
                read_at,
            } = self.load().await?;
            return Ok((Beyond::News(News::Whole(contents), known), read_at));
        }
        let changes = self.changes(keys.into_iter().collect(), read_at).await?;
        let revision = next.revision;
        let commit = News::Commit(Commit { revision, changes });
        Ok((Beyond::News(commit, next), read_at))
    }

    /// Whether what is logged in `kvs`, from `known` on, goes on from it.
    fn follows(&self, kvs: &[KeyValue], known: &Known) -> Result<bool, StoreError> {
        let number = known.revision.number;
        let [own, next] = [number, number + 1].map(|number| {
            let start = self.layout.log(number);
            kvs.iter().find(|kv| kv.key.starts_with(start.as_bytes()))
        });
        let entry = own.map(read::<LogEntry>).transpose()?;
        // No batch led to the first of all.
        let batch = entry.map_or_else(String::new, |entry| entry.batch);
        Ok(next.is_some() && batch == known.batch)
    }

    /// What is under `keys` at `revision`.
    async fn changes(&self, keys: Vec<Key>, revision: i64) -> Result<Arc<[Change]>, StoreError> {
        let mut records = BTreeMap::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let ranges = keys.iter().map(|key| RangeRequest {
                revision,
                ..one(self.layout.record(key.as_str()))
            });
            let answer = self.client.txn(reads(ranges)).await?;
            for kv in ranges_of(answer).flat_map(|range| range.kvs) {
                let (key, record) = self.record(&kv)?;
                records.insert(key, Arc::new(record));
            }
        }
        let change = |key| Change {
            after: records.get(&key).cloned(),
            before: None,
            key,
        };
        Ok(keys.into_iter().map(change).collect())
    }

    /// All that starts as `start` does, at one revision.
    pub(super) async fn pages(
        &self,
        start: &str,
        revision: i64,
    ) -> Result<Vec<KeyValue>, EtcdError> {
        let mut request = RangeRequest {
            limit: PAGE,
            revision,
            ..all_of(start)
        };
        let mut all = Vec::new();
        loop {
            let answer = self.client.range(request.clone()).await?;
            all.extend(answer.kvs);
            match all.last() {
                Some(last) if answer.more => request.key = after(&last.key),
                _ => return Ok(all),
            }
        }
    }

    fn record(&self, kv: &KeyValue) -> Result<(Key, Record), StoreError> {
        let key = self.layout.record_key(&kv.key);
        let key = parse_key(key.ok_or_else(|| damaged(&kv.key))?)?;
        let json = std::str::from_utf8(&kv.value).map_err(|_| damaged(&kv.key))?;
        let record = Record::from_json(key.kind(), json);
        let record = record.map_err(|source| StoreError::Record {
            key: key.as_str().to_owned(),
            source,
        })?;
        Ok((key, record))
    }

    /// The keys that each revision changed.
    fn log(&self, kvs: &[KeyValue]) -> Result<BTreeMap<u64, Vec<Key>>, StoreError> {
        let mut log = BTreeMap::<u64, Vec<Key>>::new();
        for kv in kvs {
            let number = self.layout.number_of(&kv.key);
            let number = number.ok_or_else(|| damaged(&kv.key))?;
            let entry: LogEntry = read(kv)?;
            let keys = log.entry(number).or_default();
            for key in &entry.keys {
                keys.push(parse_key(key)?);
            }
        }
        Ok(log)
    }
}

impl Head {
    pub(super) fn revision(&self) -> Revision {
        Revision {
            epoch: self.epoch,
            number: self.number,
        }
    }

    pub(super) fn known(&self) -> Known {
        Known {
            revision: self.revision(),
            batch: self.batch.clone(),
        }
    }
}

pub(super) fn seen(kv: &KeyValue, read_at: i64) -> Result<Seen, StoreError> {
    let head: Head = read(kv)?;
    if head.schema > SCHEMA {
        return Err(StoreError::TooNew {
            found: head.schema,
            known: SCHEMA,
        });
    }
    Ok(Seen {
        head,
        written_at: kv.mod_revision,
        read_at,
    })
}

/// The revision of etcd that an answer is of.
pub(super) fn revision_of(answer: &RangeResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}

/// Several readings at one revision.
pub(super) fn reads(ranges: impl IntoIterator<Item = RangeRequest>) -> TxnRequest {
    TxnRequest {
        success: ranges.into_iter().map(get).collect(),
        ..TxnRequest::default()
    }
}

/// The readings of a transaction, with the revision of the whole.
pub(super) fn ranges_of(answer: TxnResponse) -> impl Iterator<Item = RangeResponse> {
    let header = answer.header;
    answer.responses.into_iter().filter_map(move |it| {
        let Some(Response::ResponseRange(mut range)) = it.response else {
            return None;
        };
        range.header = header;
        Some(range)
    })
}

/// The two readings of a transaction that makes two.
pub(super) fn answered(answer: TxnResponse) -> [RangeResponse; 2] {
    let mut ranges = ranges_of(answer);
    [(); 2].map(|()| ranges.next().unwrap_or_default())
}

fn parse_key(text: &str) -> Result<Key, StoreError> {
    Key::parse(text).ok_or_else(|| StoreError::UnknownKey {
        key: text.to_owned(),
    })
}
