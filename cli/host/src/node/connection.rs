//! Serves one connection of an engine.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::forward::{Entry, Forward};

/// The time limit for a request's head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The size limit of a request's head, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Serves `stream` to its end. After `drain` is cancelled, the connection ends
/// as soon as no request is open.
pub(super) async fn serve<S>(
    stream: S,
    forward: Arc<Forward>,
    entry: Arc<Entry>,
    drain: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (forward, entry) = (forward.clone(), entry.clone());
        async move { Ok::<_, Infallible>(forward.answer(request, &entry).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = drain.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection of an engine broke");
    }
}
