//! One worker's stream, from its hello to its end.
//!
//! Two halves run side by side: one hears what the worker says, the other
//! tells it the newest state. The stream ends with the first that ends.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use metahub_policy::StateDigest;
use metahub_proto::policy::v1::{
    self as proto, control_message::Message as Told, worker_message::Message as Heard,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tonic::{Status, Streaming};
use tracing::{Instrument, info, info_span, warn};

use super::Parts;
use crate::{
    Error, Result, Revision, convert,
    feed::{self, Feed, Step},
    fleet::Session,
    names,
};

/// How long a worker may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often each side says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Three heartbeats missed: the worker is lost.
const SILENCE: Duration = Duration::from_secs(7);
/// How long a worker may take to make room for a message.
const ROOM: Duration = Duration::from_secs(35);
const LONGEST_REASON: usize = 1_000;

type Outgoing = mpsc::Sender<Result<proto::ControlMessage, Status>>;
type Incoming = Streaming<proto::WorkerMessage>;

/// Runs a worker's stream. What comes out of the receiver is for the worker.
pub(super) fn open(
    parts: Parts,
    peer: Option<SocketAddr>,
    incoming: Incoming,
) -> mpsc::Receiver<Result<proto::ControlMessage, Status>> {
    // One message: a slow worker makes its stream wait, not grow.
    let (outgoing, receiver) = mpsc::channel(1);
    let streams = parts.streams.clone();
    streams.spawn(async move {
        let shutdown = parts.shutdown.clone();
        let running = run(parts, peer, incoming, outgoing.clone());
        if let Some(Err(error)) = shutdown.run_until_cancelled(running).await {
            // A worker that is gone does not hear why.
            let _ = outgoing.try_send(Err(error.into()));
        }
    });
    receiver
}

async fn run(
    parts: Parts,
    peer: Option<SocketAddr>,
    mut incoming: Incoming,
    outgoing: Outgoing,
) -> Result<()> {
    let hello = hello(&mut incoming)
        .await
        .inspect_err(|error| warn!(?peer, "refused a stream: {error}"))?;
    let mut identity = convert::identity_from(&hello);
    identity.peer = peer;
    let span = info_span!("follow", worker.id = %identity.id);
    let held = hello.held.map(convert::revision_from);
    let session = parts.fleet.join(identity, held);
    let listener = Listener {
        feed: parts.feed.clone(),
        session: &session,
        differs: Notify::new(),
    };
    let speaker = Speaker {
        feed: parts.feed,
        outgoing,
        session: &session,
        told: held,
        differs: &listener.differs,
    };
    let both = async {
        info!(?peer, "a worker follows");
        listener.compare_hello(&hello);
        let end = tokio::select! {
            end = listener.run(&mut incoming) => end,
            end = speaker.run() => end,
        };
        match &end {
            Ok(()) => info!("the worker's stream ended"),
            Err(error) => warn!("lost the worker: {error}"),
        }
        end
    };
    both.instrument(span).await
}

async fn hello(incoming: &mut Incoming) -> Result<proto::Hello> {
    let first = timeout(HELLO_TIMEOUT, incoming.message()).await;
    match first {
        Err(_) => Err(Error::Silent { peer: "the worker" }),
        Ok(Ok(Some(proto::WorkerMessage {
            message: Some(Heard::Hello(hello)),
        }))) => {
            names::check_text("worker_id", &hello.worker_id)?;
            Ok(hello)
        }
        Ok(_) => Err(Error::Protocol {
            reason: "the first message must be a hello",
        }),
    }
}

/// Hears what the worker says.
struct Listener<'a> {
    feed: Feed,
    session: &'a Session,
    /// Tells the speaker that the worker's copy is to be replaced.
    differs: Notify,
}

impl Listener<'_> {
    /// Listens until the worker says no more.
    async fn run(&self, incoming: &mut Incoming) -> Result<()> {
        loop {
            let heard = timeout(SILENCE, incoming.message())
                .await
                .map_err(|_| Error::Silent { peer: "the worker" })?;
            // A broken connection is an end like any other.
            let Ok(Some(message)) = heard else {
                return Ok(());
            };
            match message.message {
                Some(Heard::Applied(applied)) => {
                    let revision = applied.revision.map(convert::revision_from);
                    self.session.applied(revision.unwrap_or_default());
                }
                Some(Heard::Rejected(rejected)) => self.note_rejection(rejected),
                Some(Heard::Heartbeat(heartbeat)) => self.note_heartbeat(&heartbeat),
                Some(Heard::Hello(_)) => {
                    return Err(Error::Protocol {
                        reason: "a second hello",
                    });
                }
                // A newer worker may say what this program does not know.
                None => {}
            }
        }
    }

    fn note_rejection(&self, rejected: proto::Rejected) {
        let revision = rejected.revision.map(convert::revision_from);
        let revision = revision.unwrap_or_default();
        let reason = shortened(rejected.reason);
        warn!(policy.revision = %revision, "the worker rejected {revision}: {reason}");
        self.session.rejected(reason);
    }

    fn note_heartbeat(&self, heartbeat: &proto::Heartbeat) {
        let Some(held) = heartbeat.revision.map(convert::revision_from) else {
            return;
        };
        let digest = convert::digest_from(&heartbeat.digest);
        self.session.serves(held, digest);
        self.compare(held, digest);
    }

    fn compare_hello(&self, hello: &proto::Hello) {
        if !hello.distrust.is_empty() {
            self.note_mismatch(shortened(hello.distrust.clone()));
        } else if let Some(held) = hello.held.map(convert::revision_from) {
            let digest = convert::digest_from(&hello.digest);
            self.session.serves(held, digest);
            self.compare(held, digest);
        }
    }

    /// Compares what the worker holds with what the policy was at that
    /// revision, if both are known.
    fn compare(&self, held: Revision, digest: Option<StateDigest>) {
        let differs = |digest| Some((digest, self.feed.differs(held, digest)?));
        if let Some((digest, known)) = digest.and_then(differs) {
            self.note_mismatch(format!("it holds {digest} at {held}, which is {known}"));
        }
    }

    fn note_mismatch(&self, reason: String) {
        if self.session.mismatched(reason.clone()) {
            warn!("the worker's copy differs from the policy and will be replaced: {reason}");
            self.differs.notify_one();
        }
    }
}

fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    reason
}

/// Tells the worker the newest state, and that the control plane is alive.
struct Speaker<'a> {
    feed: Feed,
    outgoing: Outgoing,
    session: &'a Session,
    /// What the worker was told last or, before that, said that it holds.
    told: Option<Revision>,
    differs: &'a Notify,
}

impl Speaker<'_> {
    async fn run(mut self) -> Result<()> {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = heartbeat.tick() => self.tell_alive().await?,
            }
        }
    }

    async fn tell_newest(&mut self) -> Result<()> {
        match self.feed.step(self.session.base(self.told)) {
            Step::Nothing => {}
            Step::Change {
                base,
                revision,
                delta,
                digest,
            } => {
                self.tell(Told::Change(proto::Change {
                    base: Some(convert::revision(base)),
                    revision: Some(convert::revision(revision)),
                    delta,
                    digest: convert::digest(digest),
                }))
                .await?;
                self.told = Some(revision);
            }
            Step::Snapshot {
                revision,
                state,
                digest,
            } => {
                let commit = proto::SnapshotCommit {
                    revision: Some(convert::revision(revision)),
                    digest: convert::digest(digest),
                };
                self.tell_snapshot(state, commit).await?;
                self.told = Some(revision);
            }
        }
        Ok(())
    }

    async fn tell_snapshot(&self, state: Bytes, commit: proto::SnapshotCommit) -> Result<()> {
        self.tell(Told::SnapshotBegin(proto::SnapshotBegin {
            revision: commit.revision,
            size_bytes: state.len() as u64,
        }))
        .await?;
        for data in feed::chunks(state) {
            let chunk = proto::SnapshotChunk { data };
            self.tell(Told::SnapshotChunk(chunk)).await?;
        }
        self.tell(Told::SnapshotCommit(commit)).await
    }

    async fn tell_alive(&self) -> Result<()> {
        let (revision, digest) = self.feed.newest();
        self.tell(Told::Heartbeat(proto::Heartbeat {
            revision: Some(convert::revision(revision)),
            digest: convert::digest(digest),
        }))
        .await
    }

    /// Waits for room, but not for ever.
    async fn tell(&self, message: Told) -> Result<()> {
        let message = proto::ControlMessage {
            message: Some(message),
        };
        match timeout(ROOM, self.outgoing.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            // The stream is gone. `listen` sees that too, and says so.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => Err(Error::Silent { peer: "the worker" }),
        }
    }
}
