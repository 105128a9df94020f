//! Keeps the records: load all, commit at an expected revision, watch.
//!
//! The interface is as small as it is so that each engine fits behind it. A
//! commit is durable before it is reported. This file says what a store does;
//! the engines are in the files below.

mod error;
mod etcd;
mod local;
mod location;
mod schema;
mod sqlite;
mod whole;

use std::{fmt, sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};

pub use self::{
    error::StoreError,
    etcd::{EtcdAccess, EtcdError},
    location::{EtcdCluster, StoreLocation},
};
use self::{etcd::Etcd, local::Local};
use crate::{
    audit::AuditRecord,
    catalog::Actor,
    records::{Key, Record},
};

/// How many commits may wait for a watcher before a writer waits for it.
const WATCH_BACKLOG: usize = 64;

/// A place in the history of the policy. Two compare only within one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Names one history: drawn at random when a store is created.
    pub epoch: u64,
    /// Grows by one with each commit.
    pub number: u64,
}

/// One change of a record. `None` before: it is new; `None` after: it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Record>>,
    pub(crate) after: Option<Arc<Record>>,
}

/// Changes that are committed together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Who makes the changes, for the audit.
    pub(crate) actor: Actor,
    /// What they do, for example `type.create`.
    pub(crate) action: &'static str,
    /// One for each key, at least one.
    pub(crate) changes: Vec<Change>,
}

/// A batch that is durable, and the revision that it led to.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) changes: Arc<[Change]>,
}

/// What a watcher is told of.
#[derive(Debug)]
pub(crate) enum News {
    /// The next commit, or several as one: then with every key that one of
    /// them changed, and the number of the last.
    Commit(Commit),
    /// What was known is of no use any more: this is what there is.
    Whole(Contents),
}

/// Everything that the store holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) revision: Revision,
    pub(crate) records: Vec<(Key, Record)>,
    /// The keys that changed lately, by the number of the revision, oldest
    /// first. Complete from the first of them on.
    pub(crate) recent: Vec<(u64, Vec<Key>)>,
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Local(Local),
    Etcd(Etcd),
}

/// What becomes of a store that holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnEmpty {
    /// A new history begins in it.
    Begin,
    /// It is refused: it held a history before, or should hold one.
    Refuse,
}

impl Store {
    /// Opens the store, and migrates it where needed.
    pub(crate) async fn open(
        location: StoreLocation,
        access: &EtcdAccess,
        on_empty: OnEmpty,
    ) -> Result<Self, StoreError> {
        let engine = match location {
            StoreLocation::Sqlite(path) => Engine::Local(Local::open(path, on_empty).await?),
            StoreLocation::Etcd(cluster) => {
                Engine::Etcd(Etcd::open(&cluster, access, on_empty).await?)
            }
            StoreLocation::Memory => Engine::Local(Local::in_memory().await?),
        };
        Ok(Self { engine })
    }

    /// Reads everything, and from then on tells of each commit, in order and
    /// without a gap. There is one watcher; a later one takes its place.
    pub(crate) async fn watch(&self) -> Result<(Contents, mpsc::Receiver<News>), StoreError> {
        match &self.engine {
            Engine::Local(local) => local.watch().await,
            Engine::Etcd(etcd) => etcd.watch().await,
        }
    }

    /// Makes `batch` durable if the store is still at `expected`.
    ///
    /// Runs to its end also when the caller no longer waits.
    pub(crate) async fn commit(&self, expected: u64, batch: Batch) -> Result<Revision, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.commit(expected, batch).await,
            Engine::Etcd(etcd) => etcd.commit(expected, batch).await,
        }
    }

    /// The audit after a revision, oldest first, whole revisions only: as many
    /// as hold `most` changes, but one at least. Empty: there is no more.
    pub(crate) async fn audit(
        &self,
        after_revision: u64,
        most: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.audit(after_revision, most).await,
            Engine::Etcd(etcd) => etcd.audit(after_revision, most).await,
        }
    }

    /// The revision after which the audit is complete. What was before it is
    /// swept.
    pub(crate) async fn audit_reach(&self) -> Result<u64, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.audit_reach().await,
            Engine::Etcd(etcd) => etcd.audit_reach().await,
        }
    }

    /// Deletes the oldest audit records, up to the first that is not older than
    /// `oldest_unix_ms`. Returns how many changes they held.
    pub(crate) async fn sweep_audit(&self, oldest_unix_ms: u64) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.sweep_audit(oldest_unix_ms).await,
            Engine::Etcd(etcd) => etcd.sweep_audit(oldest_unix_ms).await,
        }
    }

    /// The status under `key`: an observation, no decision. A status has no
    /// revision, and watchers get no event.
    pub(crate) async fn status(&self, key: &str) -> Result<Option<String>, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.status(key.to_owned()).await,
            Engine::Etcd(etcd) => etcd.status(key).await,
        }
    }

    /// All statuses whose keys start with `start`, by key.
    pub(crate) async fn statuses(&self, start: &str) -> Result<Vec<(String, String)>, StoreError> {
        match &self.engine {
            Engine::Local(local) => local.statuses(start.to_owned()).await,
            Engine::Etcd(etcd) => etcd.statuses(start).await,
        }
    }

    /// Replaces the status under `key`. `None` deletes it.
    pub(crate) async fn put_status(
        &self,
        key: &str,
        value: Option<String>,
    ) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Local(local) => local.put_status(key.to_owned(), value).await,
            Engine::Etcd(etcd) => etcd.put_status(key, value).await,
        }
    }

    /// Whether other control planes may use the store at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Etcd(_))
    }

    /// Tells the other control planes, in place of what was told before. Gone
    /// soon after this one.
    pub(crate) async fn announce(&self, pieces: Vec<Vec<u8>>) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Local(_) => Ok(()),
            Engine::Etcd(etcd) => etcd.announce(pieces).await,
        }
    }

    /// What the other control planes tell.
    pub(crate) async fn announced(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        match &self.engine {
            Engine::Local(_) => Ok(Vec::new()),
            Engine::Etcd(etcd) => etcd.announced().await,
        }
    }

    /// Since when the store does not answer, and what was read before is all
    /// there is. `None`: it does.
    pub(crate) fn silence(&self) -> watch::Receiver<Option<Instant>> {
        match &self.engine {
            Engine::Local(local) => local.silence(),
            Engine::Etcd(etcd) => etcd.silence(),
        }
    }

    /// What another control plane would do between two steps of this one.
    #[cfg(test)]
    pub(crate) fn commit_on_another_thread(&self, expected: u64, batch: Batch) {
        match &self.engine {
            Engine::Local(local) => local.commit_on_another_thread(expected, batch),
            Engine::Etcd(_) => unreachable!("tests with etcd have two stores"),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{}", self.epoch, self.number)
    }
}
