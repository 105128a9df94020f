//! Accepts connections and serves HTTP on them, within limits.
//!
//! HTTP/1.1 and HTTP/2 in plain text. A TLS hello gets hyper's plain-text
//! 400, which clients need in order to fall back to plain HTTP.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{Request, Response, Version};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use self::{stall::Stalling, unread::Unread};
use crate::peer::Peer;

mod stall;
mod unread;

/// How long to wait after a failed accept: it fails when the process has run
/// out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;
/// How many bytes of headers an HTTP/2 request may have.
const MAX_HEADERS: u32 = 32 << 10;
/// How many bytes an HTTP/1.1 request's head may have, and how many bytes of
/// an answer wait to be written.
const MAX_BUFFER: usize = 128 << 10;
/// How often an HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);

/// What clients may use up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time. More wait in the kernel.
    pub(crate) connections: usize,
    /// How long a request's head may take, and how long an idle connection
    /// is kept.
    pub(crate) header_timeout: Duration,
    /// How long a client may read nothing of what is written to it.
    pub(crate) stall_timeout: Duration,
    /// How long open requests may take at shutdown.
    pub(crate) drain_timeout: Duration,
}

/// A connection and its place among those that are served at a time.
type Accepted = (TcpStream, OwnedSemaphorePermit);

/// Answers requests on `listener` by `service` until `shutdown` is cancelled,
/// then lets open requests end.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    limits: Limits,
    service: S,
    shutdown: CancellationToken,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let connections = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(connections));
    let (graceful, tasks) = (GracefulShutdown::new(), TaskTracker::new());
    let cut = CancellationToken::new();
    let builder = Arc::new(builder(limits));
    let start = |(stream, place): Accepted| {
        let (builder, service) = (builder.clone(), service.clone());
        let (watcher, cut) = (graceful.watcher(), cut.clone());
        tasks.spawn(async move {
            let served = connection(stream, &builder, service, limits, watcher);
            cut.run_until_cancelled(served).await;
            drop(place);
        });
    };

    while let Some(accepted) = shutdown
        .run_until_cancelled(accept(&listener, &places))
        .await
    {
        start(accepted);
    }
    // Who has connected by now has not been told to go elsewhere.
    while let Some(accepted) = accept(&listener, &places).now_or_never() {
        start(accepted);
    }
    drop(listener);

    let open = graceful.count();
    if timeout(limits.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        warn!(connections = open, "drain timed out; closing what is left");
    }
    cut.cancel();
    tasks.close();
    tasks.wait().await;
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Accepted {
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            continue;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Only delays answers if it fails.
                stream.set_nodelay(true).ok();
                return (stream, place);
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection<S, F, B>(
    stream: TcpStream,
    builder: &Builder<TokioExecutor>,
    service: S,
    limits: Limits,
    watcher: Watcher,
) where
    S: Fn(Request<Incoming>) -> F + Sync,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let (spoke, unread) = (AtomicBool::new(false), Unread::default());
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let service = service_fn(|mut request: Request<Incoming>| {
        spoke.store(true, Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let (is_http2, unread) = (request.version() == Version::HTTP_2, unread.clone());
        service(request)
            .map(move |answer| Ok::<_, Infallible>(answer.map(|body| unread.watch(body, is_http2))))
    });
    let stream = Stalling::new(stream, limits.stall_timeout);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(watcher.watch(served));
    // hyper's own timer starts when it knows the protocol: a client that says
    // nothing, or half of HTTP/2's preface, would stay for ever.
    let ended = match timeout(limits.header_timeout, &mut served).await {
        Ok(ended) => ended,
        Err(_) if spoke.load(Relaxed) => {
            let unread = unread.for_longer_than(limits.stall_timeout);
            match select(served, pin!(unread)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => return,
            }
        }
        Err(_) => return,
    };
    if let Err(error) = ended {
        debug!(error, "a connection broke");
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .max_buf_size(MAX_BUFFER)
        .header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

#[cfg(test)]
mod tests;
