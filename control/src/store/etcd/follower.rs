//! Following the head: each replica hears of the commits of all of them.
//!
//! A watch says that something happened; what, is read. Also without a word
//! from the watch the head is looked at now and then, so a watch that has gone
//! deaf costs seconds, and nothing is ever missed: what is told next always
//! begins where the last thing told ended. While etcd does not answer, the
//! last state stays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Cluster, reader::Beyond};
use crate::store::{Contents, News, Revision, StoreError};

/// How often the head is looked at unasked.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// After a failure of all nodes.
const PAUSE: Duration = Duration::from_millis(500);

/// One replica's view of the history.
pub(super) struct Follower {
    pub(super) cluster: Arc<Cluster>,
    /// The newest that was told.
    pub(super) known: Revision,
    /// The revision of etcd up to which that is all there is.
    pub(super) read_at: i64,
    pub(super) sender: mpsc::Sender<News>,
    /// Somebody of this replica knows that there is more.
    pub(super) hint: Arc<Notify>,
    /// Since when etcd does not answer.
    pub(super) silent_since: watch::Sender<Option<Instant>>,
}

/// The one who listens is gone.
struct Unheard;

impl Follower {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(Err(error)) = stop.run_until_cancelled(self.follow()).await {
            if self.silent_since.send_if_modified(|since| {
                let is_new = since.is_none();
                since.get_or_insert_with(Instant::now);
                is_new
            }) {
                warn!(
                    policy.revision = %self.known,
                    "lost touch with etcd; serving the last state until it is back: {error}"
                );
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
                tokio::select! {
                    heard = watch.changed() => if heard.is_err() {
                        // Not a failure yet: another node may know more.
                        self.cluster.client.leave_node_of(&watch);
                        break;
                    },
                    () = self.hint.notified() => {}
                    () = sleep(LOOK_INTERVAL) => {}
                }
                if self.look().await?.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Tells what there is beyond what was told.
    async fn look(&mut self) -> Result<Result<(), Unheard>, StoreError> {
        let (beyond, read_at) = self.cluster.beyond(self.known).await?;
        self.back_in_touch();
        match beyond {
            Beyond::Nothing => self.read_at = read_at,
            // Its writer is about to, but may have stopped.
            Beyond::Pending(seen) => self.cluster.settle(&seen).await?,
            Beyond::News(news) => {
                self.known = match &news {
                    News::Commit(commit) => commit.revision,
                    News::Whole(Contents { revision, .. }) => {
                        info!(policy.revision = %revision, "read everything anew from etcd");
                        *revision
                    }
                };
                self.read_at = read_at;
                if self.sender.send(news).await.is_err() {
                    return Ok(Err(Unheard));
                }
            }
        }
        Ok(Ok(()))
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
