//! Following the head: each replica hears of the commits of all of them.
//!
//! A watch says that something happened; what, is read. Also without a word
//! from the watch the head is looked at now and then, so a watch that has gone
//! deaf costs seconds, and nothing is ever missed: what is told next always
//! begins where the last thing told ended. Where that is no longer part of the
//! history, as after a restore, everything is told anew. While etcd does not
//! answer, the last state stays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Cluster,
    reader::{Beyond, Known, Seen},
};
use crate::store::{Change, Commit, Contents, News, StoreError};

/// How often the head is looked at unasked.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// After a failure of all nodes.
const PAUSE: Duration = Duration::from_millis(500);

/// One replica's view of the history.
pub(super) struct Follower {
    pub(super) cluster: Arc<Cluster>,
    /// The newest that was told.
    pub(super) known: Known,
    /// The revision of etcd up to which that is all there is.
    pub(super) read_at: i64,
    /// A batch that is decided and not in place, and since when that is known.
    pub(super) pending: Option<(i64, Instant)>,
    pub(super) sender: mpsc::Sender<News>,
    /// What this replica has committed itself. `None`: there is more than that.
    pub(super) own: mpsc::Receiver<Option<Own>>,
    /// Since when etcd does not answer.
    pub(super) silent_since: watch::Sender<Option<Instant>>,
}

/// What this replica has committed.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) known: Known,
    pub(super) changes: Arc<[Change]>,
}

/// The one who listens is gone.
struct Unheard;

impl Follower {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(Err(error)) = stop.run_until_cancelled(self.follow()).await {
            // No one else writes it.
            if self.silent_since.borrow().is_none() {
                warn!(
                    policy.revision = %self.known.revision,
                    "lost touch with etcd; serving the last state until it is back: {error}"
                );
                self.silent_since.send_replace(Some(Instant::now()));
            }
            stop.run_until_cancelled(sleep(PAUSE)).await;
        }
    }

    /// Until something fails. `Ok`: nobody listens any more.
    async fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            if self.look().await?.is_err() {
                return Ok(());
            }
            let head = self.cluster.layout.head();
            let client = &self.cluster.client;
            let mut watch = client.watch(&head, self.read_at + 1).await?;
            while self.cluster.client.is_where(&watch) {
                let mut own = None;
                tokio::select! {
                    heard = watch.changed() => if heard.is_err() {
                        // Not a failure yet: another node may know more.
                        self.cluster.client.leave_node_of(&watch);
                        break;
                    },
                    Some(committed) = self.own.recv() => own = committed,
                    () = sleep(LOOK_INTERVAL) => {}
                }
                let told = match own {
                    Some(own) => self.tell_own(own).await,
                    None => self.look().await?,
                };
                if told.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Tells what there is beyond what was told. What this replica commits
    /// meanwhile is told at once: etcd may not answer any more.
    async fn look(&mut self) -> Result<Result<(), Unheard>, StoreError> {
        let (beyond, read_at) = loop {
            tokio::select! {
                biased;
                Some(Some(own)) = self.own.recv() => {
                    if self.tell_own(own).await.is_err() {
                        return Ok(Err(Unheard));
                    }
                }
                beyond = self.cluster.beyond(&self.known) => break beyond?,
            }
        };
        self.back_in_touch();
        match beyond {
            Beyond::Nothing => self.read_at = read_at,
            Beyond::Pending(seen) => self.settle_if_left(&seen).await?,
            Beyond::News(news, known) => {
                self.read_at = read_at;
                return Ok(self.tell(news, known).await);
            }
        }
        Ok(Ok(()))
    }

    /// Its writer is about to put a pending batch in place, but may have
    /// stopped.
    async fn settle_if_left(&mut self, seen: &Seen) -> Result<(), StoreError> {
        let now = Instant::now();
        match self.pending {
            Some((written_at, since)) if written_at == seen.written_at => {
                if now.duration_since(since) >= LOOK_INTERVAL {
                    self.cluster.settle(seen).await?;
                }
            }
            _ => self.pending = Some((seen.written_at, now)),
        }
        Ok(())
    }

    /// Tells of a commit if it is the next.
    async fn tell_own(&mut self, own: Own) -> Result<(), Unheard> {
        let Own { known, changes } = own;
        let (last, revision) = (self.known.revision, known.revision);
        let is_next = (revision.epoch, revision.number) == (last.epoch, last.number + 1);
        let commit = Commit { revision, changes };
        match is_next {
            true => self.tell(News::Commit(commit), known).await,
            false => Ok(()),
        }
    }

    async fn tell(&mut self, news: News, known: Known) -> Result<(), Unheard> {
        if let News::Whole(Contents { revision, .. }) = &news {
            info!(policy.revision = %revision, "read everything anew from etcd");
        }
        self.known = known;
        self.sender.send(news).await.map_err(|_| Unheard)
    }

    fn back_in_touch(&self) {
        self.silent_since.send_if_modified(|since| {
            let Some(since) = since.take() else {
                return false;
            };
            info!("etcd is back after {:?}", since.elapsed());
            true
        });
    }
}
