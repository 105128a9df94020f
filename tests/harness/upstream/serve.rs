//! Accepts connections for an upstream, records requests, keeps its mood.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Mood, Seen, Shared,
    answer::{empty, stored},
    lock,
};

/// Serves on `addr` until the guard is dropped, which also cuts connections.
pub(super) async fn serve(addr: SocketAddr, shared: Arc<Shared>) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind(addr).await.expect("the port is free");
    let addr = listener.local_addr().expect("a bound port has an address");
    let shutdown = CancellationToken::new();
    let accepting = accept(listener, shared, shutdown.clone());
    tokio::spawn(shutdown.clone().run_until_cancelled_owned(accepting));
    (addr, shutdown.drop_guard())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, shutdown: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = connection(stream, shared.clone());
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(connection));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(shared.clone(), request));
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    lock(&shared.seen).push(Seen {
        method: request.method().clone(),
        path: request.uri().to_string(),
        headers: request.headers().clone(),
    });
    let status = match settled(&shared).await {
        Mood::Status(status) => StatusCode::from_u16(status).expect("a test names a status"),
        _ => return Ok(stored(&shared, &request)),
    };
    Ok(empty(status))
}

/// The mood once it is one that answers.
async fn settled(shared: &Shared) -> Mood {
    let mut moods = shared.mood.subscribe();
    let mood = moods.wait_for(|mood| *mood != Mood::Holding).await;
    mood.map_or(Mood::Fine, |mood| *mood)
}
