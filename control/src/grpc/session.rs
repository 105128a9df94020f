//! One worker's stream, from its hello to its end.
//!
//! Two halves run side by side: one hears what the worker says, the other
//! tells it the newest state. The stream ends with the first that ends.

use std::{
    future::pending,
    net::SocketAddr,
    time::{Duration, Instant},
};

use metahub_proto::policy::v1::{self as proto, worker_message::Message as Heard};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};
use tracing::{Instrument, info, info_span, warn};

use self::{listener::Listener, speaker::Speaker};
use super::Parts;
use crate::{Catalog, Error, Result, convert, names, tls::WorkerCertificate};

mod listener;
mod speaker;

/// How long a worker may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Three heartbeats missed: the worker is lost.
const SILENCE: Duration = Duration::from_secs(7);

type Outgoing = mpsc::Sender<Result<proto::ControlMessage, Status>>;
type Incoming = Streaming<proto::WorkerMessage>;

/// Who opens a stream.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) peer: Option<SocketAddr>,
    /// `None`: it has the worker token.
    pub(super) certificate: Option<WorkerCertificate>,
}

/// Runs a worker's stream. What comes out of the receiver is for the worker.
pub(super) fn open(
    parts: Parts,
    follower: Follower,
    incoming: Incoming,
) -> mpsc::Receiver<Result<proto::ControlMessage, Status>> {
    // One message: a slow worker makes its stream wait, not grow.
    let (outgoing, receiver) = mpsc::channel(1);
    let streams = parts.streams.clone();
    streams.spawn(async move {
        let draining = draining(parts.clone());
        let store_silent = store_silent(parts.catalog.store_silence());
        let running = run(parts, follower, incoming, outgoing.clone());
        let end = tokio::select! {
            end = running => end,
            () = draining => Ok(()),
            error = store_silent => Err(error),
        };
        if let Err(error) = end {
            // A worker that is gone does not hear why.
            let _ = outgoing.try_send(Err(error.into()));
        }
    });
    receiver
}

/// Waits for the shutdown, and then for this stream's turn to end: workers that
/// are sent away together would come to other control planes together.
async fn draining(parts: Parts) {
    parts.shutdown.cancelled().await;
    let streams = parts.fleet.connected();
    sleep(parts.pace.end_delay(streams, fastrand::f64())).await;
}

/// Waits until the store does not answer: others may have changed what this
/// control plane cannot see, and another one may see it.
async fn store_silent(mut silence: watch::Receiver<Option<Instant>>) -> Error {
    if silence.wait_for(Option::is_some).await.is_err() {
        // It never falls silent.
        pending::<()>().await;
    }
    Error::StoreSilent
}

async fn run(
    parts: Parts,
    follower: Follower,
    mut incoming: Incoming,
    outgoing: Outgoing,
) -> Result<()> {
    let peer = follower.peer;
    let hello = hello(&mut incoming)
        .await
        .and_then(|hello| follower.check(hello))
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
        joining: parts.joining.as_ref(),
        pace: parts.pace,
        turn: None,
    };
    let both = async {
        info!(?peer, "a worker follows");
        listener.compare_hello(&hello);
        let end = tokio::select! {
            end = listener.run(&mut incoming) => end,
            end = speaker.run() => end,
            end = follower.removed(&parts.catalog) => end,
        };
        match &end {
            Ok(()) => info!("the worker's stream ended"),
            Err(error) => warn!("lost the worker: {error}"),
        }
        end
    };
    both.instrument(span).await
}

impl Follower {
    /// Refuses a hello of another worker than the certificate is for.
    fn check(&self, hello: proto::Hello) -> Result<proto::Hello> {
        match &self.certificate {
            Some(shown) if shown.id != hello.worker_id => Err(Error::Forbidden {
                reason: format!(
                    "the certificate is for the worker `{}`, and `{}` says hello",
                    shown.id, hello.worker_id
                ),
            }),
            Some(_) | None => Ok(hello),
        }
    }

    /// Ends when the worker's certificates are not good any more.
    async fn removed(&self, catalog: &Catalog) -> Result<()> {
        let mut policy = catalog.subscribe();
        if let Some(shown) = &self.certificate {
            loop {
                shown.check(&policy.borrow_and_update())?;
                if policy.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending().await
    }
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
