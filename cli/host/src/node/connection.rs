//! One connection of an engine, from its first byte to its end.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::forward::{Entry, Forward};

/// How long a request's head may take, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How many bytes a request's head may have.
const MAX_HEAD: usize = 64 << 10;

/// Serves `stream` to its end. When `drain` is cancelled it ends as soon as
/// nothing is under way.
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
