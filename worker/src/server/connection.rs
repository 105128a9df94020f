//! One connection, from its first byte to its end.

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    ABOUT_TO_ASK, Limits,
    opening::Opened,
    unfinished::Tracked,
    unread::{Unread, Watch},
};
use crate::peer::Peer;

/// How many requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;
/// How many bytes of headers an HTTP/2 request may have.
const MAX_HEADERS: u32 = 32 << 10;
/// How many bytes an HTTP/1.1 request's head may have, and how many bytes of
/// an answer wait to be written.
const MAX_BUFFER: usize = 128 << 10;
/// How many bytes of an answer wait to be written on HTTP/2.
const MAX_SEND_BUFFER: usize = 64 << 10;
/// How many bytes of a request's body, and of all on one connection, may come
/// unasked for on HTTP/2: the largest body that is read is that of a form.
const WINDOW: u32 = 16 << 10;
const CONNECTION_WINDOW: u32 = 64 << 10;
/// How often an HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);

/// Serves a connection to its end. `head` limits the time until its first
/// request, and `stall` the time that a client leaves answers unread. After
/// `drain` is cancelled, the connection ends with its last open request.
pub(super) async fn serve<S, F, B>(
    opened: Opened,
    builder: &Builder<TokioExecutor>,
    service: S,
    (head, stall): (Duration, Duration),
    drain: CancellationToken,
) where
    S: Fn(Request<Incoming>) -> F + Sync,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let (spoke, unread) = (AtomicBool::new(false), Unread::new());
    let Opened {
        transport,
        client,
        secured,
        unfinished,
        seat: _seat,
    } = opened;
    let service = service_fn(|mut request: Request<Incoming>| {
        spoke.store(true, Relaxed);
        request.extensions_mut().insert(Peer(client));
        if let Some(secured) = &secured {
            request.extensions_mut().insert(secured.clone());
        }
        let (watch, unfinished) = match request.version() {
            Version::HTTP_2 => (unread.asked(), None),
            _ => (Watch::none(), Some(unfinished.clone())),
        };
        let followed = move |body| match (watch.body(body), unfinished) {
            (body, Some(unfinished)) => unfinished.body(body),
            (body, None) => Tracked::untracked(body),
        };
        service(request).map(move |answer| Ok::<_, Infallible>(answer.map(followed)))
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(transport), service));
    let drain = drain.child_token();
    let ended = async {
        select! {
            ended = served.as_mut() => return ended,
            () = drain.cancelled() => {
                // A new client is likely to send its first request soon.
                if !spoke.load(Relaxed)
                    && let Ok(ended) = timeout(ABOUT_TO_ASK, served.as_mut()).await
                {
                    return ended;
                }
                served.as_mut().graceful_shutdown();
            }
        }
        served.await
    };
    let over = async {
        // hyper's own timer starts when it knows the protocol: a client that
        // says nothing, or half of HTTP/2's preface, would stay for ever.
        sleep(head).await;
        if spoke.load(Relaxed) {
            unread.for_longer_than(stall, &drain).await;
        }
    };
    select! {
        ended = ended => if let Err(error) = ended {
            debug!(error, "a connection broke");
        },
        () = over => debug!("cut off a client that says or reads nothing"),
    }
}

/// What all connections are served by.
pub(super) fn builder(limits: &Limits) -> Builder<TokioExecutor> {
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
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}
