//! Keeps a worker's policy equal to the control plane's.
//!
//! The stream may break at any time. The worker then serves the last good
//! snapshot, and comes back with a growing delay. It never exits over it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use metahub_proto::policy::v1::{
    ControlMessage, WorkerMessage, policy_service_client::PolicyServiceClient,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};
use tracing::{info, instrument, warn};

use self::{
    link::Line,
    replica::{OutOfStep, Outcome, Replica},
};
use crate::{
    backoff::Backoff,
    convert::{self, Unreadable},
    identity::{Door, Identity, NoWay},
    snapshot::Current,
};

mod keeper;
#[cfg(test)]
pub(crate) mod ledger;
mod link;
mod replica;
mod sealed;
mod shelf;

pub use self::shelf::Shelf;
pub(crate) use self::{
    keeper::Keeper,
    link::{Link, Unanswered},
    sealed::{SealedFile, Unusable, replace_file},
};

const MIN_DELAY: Duration = Duration::from_millis(100);
/// Short, so that a fault is over for all soon after it is over: control planes
/// bound how many they serve at a time.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// How long it may take until a stream is open, the connect included.
const OPEN: Duration = Duration::from_secs(10);
/// How long the control plane may take to close its half at the end.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often each side says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The control plane is lost after three heartbeats that did not come.
const SILENCE: Duration = Duration::from_secs(6);
/// Chunks and changes hold 1 MiB at most.
const MAX_MESSAGE: usize = 2 << 20;
/// How much the worker may have to say before the control plane listens.
const UNSAID: usize = 16;

/// How a worker introduces itself, and to whom.
#[derive(Debug)]
pub(crate) struct Introduction {
    /// A stable name for the worker.
    pub(crate) worker_id: String,
    /// Where it serves the registry API, for people to read.
    pub(crate) registry_address: String,
    /// The way to the control plane.
    pub(crate) identity: Identity,
}

/// Follows the control plane, and publishes what it says.
#[derive(Debug)]
pub(crate) struct Sync {
    introduction: Introduction,
    replica: Replica,
    link: Arc<Link>,
    backoff: Backoff,
    keeper: Option<Arc<Keeper>>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum Lost {
    #[error(transparent)]
    NoWay(#[from] NoWay),
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(#[from] Status),
    #[error("it closed the stream")]
    Closed,
    #[error("it is silent")]
    Silent,
    #[error("it sent what cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    OutOfStep(#[from] OutOfStep),
}

impl Sync {
    /// Prepares to follow the control plane, to keep `link` to it, and the
    /// policy with `keeper`.
    pub(crate) fn new(
        introduction: Introduction,
        current: Arc<Current>,
        link: Arc<Link>,
        keeper: Option<Keeper>,
    ) -> Self {
        let keeper = keeper.map(Arc::new);
        Self {
            introduction,
            replica: Replica::new(current, keeper.clone()),
            link,
            backoff: Backoff::new(MIN_DELAY, MAX_DELAY),
            keeper,
        }
    }

    /// Shares whole policies with all others of `shelf`.
    pub(crate) fn sharing(mut self, shelf: Shelf) -> Self {
        self.replica.share(shelf);
        self
    }

    /// Follows the control plane until `shutdown` is cancelled.
    #[instrument(name = "sync", skip_all)]
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let keeper = self.keeper.take();
        let keeping = keeper.map(|it| tokio::spawn(it.run(shutdown.clone())));
        loop {
            let Err(lost) = self.follow(&shutdown).await;
            if shutdown.is_cancelled() {
                break;
            }
            let delay = self.backoff.next_delay(fastrand::f64());
            match lost {
                Lost::Closed => info!(?delay, "the control plane closed the stream"),
                lost => warn!(?delay, "lost the control plane: {lost}"),
            }
            shutdown.run_until_cancelled(sleep(delay)).await;
        }
        if let Some(keeping) = keeping {
            // It has warned of what it could not do.
            let _ = keeping.await;
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self, shutdown: &CancellationToken) -> Result<Infallible, Lost> {
        let (say, said) = mpsc::channel(UNSAID);
        self.replica.begin_stream();
        self.say(&say, self.hello());
        let opening = shutdown.run_until_cancelled(timeout(OPEN, self.open(said)));
        let opened = opening.await.ok_or(Lost::Closed)?;
        let (mut stream, line) = opened.map_err(|_| Lost::Silent)??;
        let link = self.link.clone();
        let _linked = link.connect(line);

        let mut heard = Instant::now();
        let mut beats = interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.message() => {
                    let message = message?.ok_or(Lost::Closed)?;
                    heard = Instant::now();
                    self.take(&say, message)?;
                    // Whoever loses one snapshot after the other waits longer.
                    if !self.replica.is_half_told() {
                        self.backoff.reset();
                    }
                }
                () = shutdown.cancelled() => {
                    self.say(&say, convert::leaving());
                    drop(say);
                    let end = async { while let Ok(Some(_)) = stream.message().await {} };
                    let _ = timeout(GOODBYE, end).await;
                    return Err(Lost::Closed);
                }
                _ = beats.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(Lost::Silent);
                    }
                    self.say(&say, convert::heartbeat(self.replica.held()));
                }
            }
        }
    }

    /// Opens a stream over a new connection.
    async fn open(
        &self,
        said: mpsc::Receiver<WorkerMessage>,
    ) -> Result<(Streaming<ControlMessage>, Line), Lost> {
        let Door { channel, bearer } = self.introduction.identity.connect().await?;
        let mut client = PolicyServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let mut request = Request::new(ReceiverStream::new(said));
        if let Some(bearer) = &bearer {
            let bearer = bearer.clone();
            request.metadata_mut().insert("authorization", bearer);
        }
        let stream = client.follow(request).await?.into_inner();
        Ok((stream, Line::new(client, bearer)))
    }

    fn take(
        &mut self,
        say: &mpsc::Sender<WorkerMessage>,
        message: ControlMessage,
    ) -> Result<(), Lost> {
        if let Some(authority) = convert::authority(&message) {
            self.introduction.identity.heed(authority);
        }
        match self.replica.take(convert::event(message)?)? {
            Outcome::Quiet => {}
            Outcome::Applied(revision) => self.say(say, convert::applied(revision)),
            Outcome::Rejected(revision, reason) => {
                self.say(say, convert::rejected(revision, reason));
            }
        }
        Ok(())
    }

    fn hello(&self) -> WorkerMessage {
        let Introduction {
            worker_id,
            registry_address,
            ..
        } = &self.introduction;
        convert::hello(worker_id, registry_address, self.replica.claim())
    }

    /// A control plane that does not listen misses some of it, and learns what
    /// is served from the next heartbeat.
    fn say(&self, say: &mpsc::Sender<WorkerMessage>, message: WorkerMessage) {
        if say.try_send(message).is_err() {
            warn!("the control plane does not listen; left something unsaid");
        }
    }
}

#[cfg(test)]
mod tests;
