//! Metrics of the control plane, for Prometheus: over plain HTTP, without a
//! login, on a port of their own that is off by default.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{Catalog, records::Kind};

/// The timeout of a scrape, from its connection to its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves metrics until `shutdown` is cancelled.
pub(crate) async fn serve(listener: TcpListener, catalog: Catalog, shutdown: CancellationToken) {
    let scrapes = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            // `accept` fails without file descriptors, for example: avoids a
            // busy loop.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let catalog = catalog.clone();
        scrapes.spawn(shutdown.clone().run_until_cancelled_owned(async move {
            let service = service_fn(|request| answer(request, &catalog));
            let mut server = http1::Builder::new();
            server.keep_alive(false).timer(TokioTimer::new());
            let serving = server.serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(PATIENCE, serving).await {
                debug!("a scrape failed: {error}");
            }
        }));
    }
}

async fn answer(
    request: Request<Incoming>,
    catalog: &Catalog,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_known = request.method() == Method::GET && request.uri().path() == "/metrics";
    let (status, text) = match is_known {
        true => (StatusCode::OK, metrics(catalog).await),
        false => (StatusCode::NOT_FOUND, "see /metrics\n".into()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let text = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}

/// The metrics in Prometheus' text format.
async fn metrics(catalog: &Catalog) -> String {
    let policy = catalog.policy();
    let mut text = String::new();
    gauge(
        &mut text,
        ("metahub_policy_revision", "The newest revision."),
        policy.revision.number,
    );
    gauge(
        &mut text,
        ("metahub_logins", "Logins, those of hosts included."),
        policy.count(Kind::Login) as u64,
    );
    // Omits the counts, rather than wrong ones, while the store does not
    // answer.
    if let Ok(counts) = catalog.host_counts().await {
        gauge(
            &mut text,
            ("metahub_hosts", "Hosts that have joined."),
            counts.joined,
        );
        gauge(
            &mut text,
            (
                "metahub_hosts_drifted",
                "Hosts that lack something of their machine types.",
            ),
            counts.drifted,
        );
    }
    text
}

fn gauge(text: &mut String, (name, help): (&str, &str), value: u64) {
    let _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
    );
}
