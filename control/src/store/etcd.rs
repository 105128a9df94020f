//! The store in an etcd cluster that any number of control planes share.
//!
//! None of these replicas is special: each reads, writes and follows. Under
//! the prefix (`/metahub` unless the operator says otherwise) there are
//!
//! | key | value |
//! |---|---|
//! | `head` | epoch and number of the newest revision, the batch that led to it, and a pending batch if there is one |
//! | `record/<key>` | a record as JSON, as in the other engine |
//! | `log/<number>/<piece>` | the keys that a revision changed, and its batch; the last thousand revisions |
//! | `audit/<number>/<piece>` | who changed what |
//! | `audit-reach` | the revision after which the audit is complete, once it was swept |
//! | `status/<key>` | the observed status of a host, outside the revision |
//! | `replica/<name>/<piece>` | what a replica tells the others of its workers, under a lease |
//! | `stage/<number>/<batch>/<piece>` | pieces of a batch that is too large for one transaction |
//!
//! A commit is one transaction that compares the head's `mod_revision` and
//! moves the head, so of two that start from the same revision one wins. A
//! batch with more than about a hundred changes is written in steps:
//!
//! 1. Its pieces are staged. No one reads them, so a writer that stops here
//!    leaves nothing but rubbish, which the next commit sweeps: what is staged
//!    for a number that is reached can never be decided.
//! 2. One transaction makes it the head's pending batch. Now it is decided.
//! 3. Each piece is put in place by a transaction that compares the head, so
//!    a straggler cannot undo what came later.
//! 4. One transaction moves the head and sweeps the stage.
//!
//! If a writer stops after the second step, any other replica does the rest, a
//! reader included. Readers read at one revision of etcd at which nothing is
//! pending, so they see whole commits only.
//!
//! Every batch has a name drawn at random, in the head and in the log. A writer
//! whose answer got lost finds out by it whether the batch was committed.

mod access;
mod audit;
mod causes;
mod client;
mod error;
mod fill;
mod follower;
mod layout;
mod nodes;
mod presence;
mod reader;
mod status;
mod writer;

/// What etcd says and is told.
mod pb {
    #![allow(
        missing_docs,
        dead_code,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated"
    )]
    include!("etcd/generated/etcdserverpb.rs");
}

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::{access::EtcdAccess, error::EtcdError};
use self::{
    client::Client,
    follower::{Follower, Own},
    layout::Layout,
    nodes::Nodes,
    presence::Presence,
    reader::Loaded,
};
use crate::audit::AuditRecord;

use super::{
    Batch, Contents, News, OnEmpty, Revision, StoreError, WATCH_BACKLOG, location::EtcdCluster,
    whole::Whole,
};

/// For how long a call is tried. An election takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for the one who follows, and says when etcd does not answer.
const PATIENCE_OF_WATCH: Duration = Duration::from_secs(12);
/// How long what replicas tell each other is waited for.
const PATIENCE_OF_LISTS: Duration = Duration::from_secs(3);
/// How long a commit may take. Shorter than a call of an admin may.
const PATIENCE_OF_COMMIT: Duration = Duration::from_secs(25);

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Etcd {
    cluster: Arc<Cluster>,
    /// The same, for the one who follows.
    watched: Arc<Cluster>,
    presence: Arc<Presence>,
    /// To the one who follows.
    committed: Arc<Mutex<Option<mpsc::Sender<Option<Own>>>>>,
    silent_since: watch::Sender<Option<Instant>>,
    /// The follower ends with the last handle.
    stop: CancellationToken,
    _alive: Arc<DropGuard>,
}

/// The cluster, and where things are in it.
#[derive(Debug)]
struct Cluster {
    client: Client,
    layout: Layout,
}

impl Etcd {
    /// Connects, and begins a history if there is none and that is right.
    pub(super) async fn open(
        at: &EtcdCluster,
        access: &EtcdAccess,
        on_empty: OnEmpty,
    ) -> Result<Self, StoreError> {
        let etcd = Self::connect(at, access)?;
        if !etcd.cluster.has_head().await? {
            if on_empty == OnEmpty::Refuse {
                let place = format!("etcd below {}", at.prefix);
                return Err(StoreError::Empty { place });
            }
            etcd.cluster.check_neighbours().await?;
            etcd.cluster.create_head().await?;
        }
        etcd.cluster.settled_head().await?;
        Ok(etcd)
    }

    /// Connects when it is first used.
    pub(super) fn connect(at: &EtcdCluster, access: &EtcdAccess) -> Result<Self, StoreError> {
        let nodes = Arc::new(Nodes::new(at, access)?);
        let cluster = |patience| {
            Arc::new(Cluster {
                client: Client::new(nodes.clone(), patience),
                layout: Layout::new(&at.prefix),
            })
        };
        let stop = CancellationToken::new();
        Ok(Self {
            cluster: cluster(PATIENCE),
            watched: cluster(PATIENCE_OF_WATCH),
            presence: Arc::new(Presence::new()),
            committed: Arc::default(),
            silent_since: watch::Sender::new(None),
            _alive: Arc::new(stop.clone().drop_guard()),
            stop,
        })
    }

    pub(super) async fn load(&self) -> Result<Contents, StoreError> {
        Ok(self.cluster.load().await?.contents)
    }

    /// Puts everything where nothing may be.
    pub(super) async fn fill(&self, whole: Whole) -> Result<(), StoreError> {
        self.cluster.fill(whole).await
    }

    pub(super) async fn watch(&self) -> Result<(Contents, mpsc::Receiver<News>), StoreError> {
        let Loaded {
            contents,
            known,
            read_at,
        } = self.cluster.load().await?;
        let (sender, receiver) = mpsc::channel(WATCH_BACKLOG);
        let (committed, own) = mpsc::channel(WATCH_BACKLOG);
        *self.follower() = Some(committed);
        let follower = Follower {
            cluster: self.watched.clone(),
            known,
            read_at,
            sender,
            pending: None,
            own,
            silent_since: self.silent_since.clone(),
        };
        tokio::spawn(follower.run(self.stop.clone()));
        Ok((contents, receiver))
    }

    /// Runs to its end also when the caller no longer waits.
    pub(super) async fn commit(&self, expected: u64, batch: Batch) -> Result<Revision, StoreError> {
        self.is_heard()?;
        let (cluster, follower) = (self.cluster.clone(), self.follower().clone());
        let committing = tokio::spawn(async move {
            let silence = PATIENCE_OF_COMMIT;
            let committed = timeout(silence, cluster.commit(expected, &batch)).await;
            let committed = committed.unwrap_or(Err(EtcdError::Silent { silence }.into()));
            let own = committed.as_ref().ok().map(|known| Own {
                known: known.clone(),
                changes: batch.changes.into(),
            });
            // One that has not room for it looks by itself.
            let _ = follower.map(|it| it.try_send(own));
            Ok(committed?.revision)
        });
        committing.await.map_err(|_| StoreError::Closed)?
    }

    fn follower(&self) -> MutexGuard<'_, Option<mpsc::Sender<Option<Own>>>> {
        let follower = self.committed.lock();
        follower.unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the other replicas, in place of what was told before. Gone soon
    /// after this replica.
    pub(super) async fn announce(&self, pieces: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let announcing = self.presence.announce(&self.watched, pieces);
        Ok(self.soon(announcing).await?)
    }

    /// What the other replicas tell.
    pub(super) async fn announced(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.is_heard()?;
        let announced = self.presence.announced(&self.watched);
        Ok(self.soon(announced).await?)
    }

    /// Whether it is worth asking.
    fn is_heard(&self) -> Result<(), EtcdError> {
        match *self.silent_since.borrow() {
            None => Ok(()),
            Some(since) => Err(EtcdError::Silent {
                silence: since.elapsed(),
            }),
        }
    }

    /// What is not worth waiting for.
    async fn soon<T>(
        &self,
        answer: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<T, EtcdError> {
        let silence = PATIENCE_OF_LISTS;
        let answer = timeout(silence, answer).await;
        answer.unwrap_or(Err(EtcdError::Silent { silence }))
    }

    pub(super) async fn audit(
        &self,
        after_revision: u64,
        most: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.cluster.audit(after_revision, most).await
    }

    pub(super) async fn audit_reach(&self) -> Result<u64, StoreError> {
        self.cluster.audit_reach().await
    }

    pub(super) async fn sweep_audit(&self, oldest_unix_ms: u64) -> Result<usize, StoreError> {
        self.cluster.sweep_audit(oldest_unix_ms).await
    }

    pub(super) async fn status(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.is_heard()?;
        self.cluster.status(key).await
    }

    pub(super) async fn statuses(&self, start: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.is_heard()?;
        self.cluster.statuses(start).await
    }

    pub(super) async fn put_status(
        &self,
        key: &str,
        value: Option<String>,
    ) -> Result<(), StoreError> {
        self.is_heard()?;
        self.cluster.put_status(key, value).await
    }

    pub(super) fn silence(&self) -> watch::Receiver<Option<Instant>> {
        self.silent_since.subscribe()
    }
}

#[cfg(test)]
mod tests;
