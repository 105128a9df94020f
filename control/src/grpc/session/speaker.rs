//! Tells a worker the newest state, and that the control plane is alive.

use std::{future::pending, pin::Pin, time::Duration};

use metahub_proto::policy::v1::{self as proto, control_message::Message as Told};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::Outgoing;
use crate::{
    Error, Result, Revision, convert,
    feed::{self, Feed, Step},
    fleet::Session,
    grpc::{
        Joining,
        pace::{Pace, Turn},
    },
};

/// How often each side says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a worker may take to make room for a message.
const ROOM: Duration = Duration::from_secs(35);
/// How long a worker may take to read a whole snapshot, while others may wait.
const SNAPSHOT: Duration = Duration::from_secs(120);

/// How long a worker that holds more than there is here waits for the rest to
/// be heard of. Longer than a replica takes to look at its store by itself,
/// shorter than a worker is silent to. After that, it is lost: as in a restore.
const CATCH_UP: Duration = Duration::from_secs(4);

/// Tells a worker what there is to tell.
pub(super) struct Speaker<'a> {
    pub(super) feed: Feed,
    pub(super) outgoing: Outgoing,
    pub(super) session: &'a Session,
    /// What the worker was told last or, before that, said that it holds.
    pub(super) told: Option<Revision>,
    pub(super) differs: &'a Notify,
    /// Where certificates come from. `None`: there are none.
    pub(super) joining: Option<&'a Joining>,
    pub(super) pace: Pace,
    /// Its turn to get a whole snapshot, while it waits for that.
    pub(super) turn: Option<Pin<Box<dyn Future<Output = Turn> + Send + Sync>>>,
}

impl Speaker<'_> {
    /// Speaks until the stream has become too old.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let too_old = end(self.pace.stream_age(fastrand::f64()));
        tokio::pin!(too_old);
        self.catch_up().await;
        self.tell_newest().await?;
        loop {
            tokio::select! {
                there_are_more = self.feed.changed() => {
                    if !there_are_more {
                        return Err(Error::Stopping);
                    }
                    self.tell_newest().await?;
                }
                () = self.differs.notified() => self.tell_newest().await?,
                turn = of(&mut self.turn) => {
                    self.turn = None;
                    self.tell_snapshot(turn).await?;
                }
                _ = heartbeat.tick() => self.tell_alive().await?,
                () = &mut too_old => return Ok(()),
            }
        }
    }

    /// A worker that comes from another replica may know what is not yet heard
    /// of here. It is not sent back to what was before.
    async fn catch_up(&mut self) {
        if let Some(held) = self.told {
            // In time or not: it is told what there is.
            let _ = timeout(CATCH_UP, self.feed.reaches(held)).await;
        }
    }

    /// Tells what changed, or begins to wait for a turn to tell everything.
    async fn tell_newest(&mut self) -> Result<()> {
        if self.turn.is_some() {
            return Ok(());
        }
        self.told = self.session.base(self.told);
        match self.feed.step(self.told) {
            Some(Step::Nothing) => Ok(()),
            Some(Step::Change(change)) => {
                let revision = change.revision;
                self.tell(Told::Change(convert::change(change))).await?;
                self.told = Some(revision);
                Ok(())
            }
            None => {
                self.turn = Some(Box::pin(self.pace.turn()));
                Ok(())
            }
        }
    }

    /// Tells everything. The turn ends with it.
    async fn tell_snapshot(&mut self, turn: Turn) -> Result<()> {
        let whole = self.feed.whole();
        let commit = proto::SnapshotCommit {
            revision: Some(convert::revision(whole.revision)),
            digest: convert::digest(whole.digest),
        };
        let telling = async {
            self.tell(Told::SnapshotBegin(proto::SnapshotBegin {
                revision: commit.revision,
                size_bytes: whole.state.len() as u64,
            }))
            .await?;
            for data in feed::chunks(whole.state) {
                let chunk = proto::SnapshotChunk { data };
                self.tell(Told::SnapshotChunk(chunk)).await?;
            }
            self.tell(Told::SnapshotCommit(commit)).await
        };
        let told = timeout(SNAPSHOT, telling).await;
        drop(turn);
        told.map_err(|_| Error::Silent { peer: "the worker" })??;
        self.told = Some(whole.revision);
        Ok(())
    }

    /// A worker that waits for its turn is not told of what it cannot have yet.
    async fn tell_alive(&self) -> Result<()> {
        let (revision, digest) = self.feed.newest();
        let authority = self.joining.map(Joining::authority);
        let authority = authority.map_or_else(String::new, |it| it.fingerprint().to_owned());
        let heartbeat = match self.turn {
            Some(_) => proto::Heartbeat {
                authority,
                ..proto::Heartbeat::default()
            },
            None => proto::Heartbeat {
                revision: Some(convert::revision(revision)),
                digest: convert::digest(digest),
                authority,
            },
        };
        self.tell(Told::Heartbeat(heartbeat)).await
    }

    /// Waits for room, but not for ever.
    async fn tell(&self, message: Told) -> Result<()> {
        let message = proto::ControlMessage {
            message: Some(message),
        };
        match timeout(ROOM, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            // The stream is gone. The listener sees that too, and says so.
            Ok(Err(_)) => pending().await,
            Err(_) => Err(Error::Silent { peer: "the worker" }),
        }
    }
}

/// When a stream that may last so long is to end. `None`: never.
async fn end(age: Option<Duration>) {
    match age.and_then(|age| Instant::now().checked_add(age)) {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// The turn that is waited for, if one is.
async fn of(turn: &mut Option<Pin<Box<dyn Future<Output = Turn> + Send + Sync>>>) -> Turn {
    match turn {
        Some(turn) => turn.await,
        None => pending().await,
    }
}
