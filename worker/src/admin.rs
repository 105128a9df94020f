//! Health and metrics, for whoever runs the worker. Not for its clients.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use prometheus_client::{encoding::text::encode, registry::Registry as Counters};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::snapshot::Current;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// The control plane speaks every two seconds. Beyond this, it is lost.
const FRESH: Duration = Duration::from_secs(6);

/// Answers `/healthz`, `/readyz` and `/metrics`.
#[derive(Debug)]
pub(crate) struct Admin {
    /// What is served.
    pub(crate) current: Arc<Current>,
    /// What is counted.
    pub(crate) counters: Counters,
    /// Cancelled when the worker has been told to stop.
    pub(crate) shutdown: CancellationToken,
    /// Why it serves fewer clients than it is set to.
    pub(crate) shortage: Option<String>,
}

impl Admin {
    /// Answers a request.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n"),
        }
    }

    /// Ready from the first whole snapshot until the worker drains, also when
    /// the control plane is lost.
    fn ready(&self) -> Response<Full<Bytes>> {
        if self.shutdown.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let snapshot = self.current.load();
        let Some(snapshot) = snapshot.as_ref() else {
            let waiting = "waiting for the first policy\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, waiting);
        };
        let mut state = format!("ready with policy {}", snapshot.revision());
        let silence = self.current.silence();
        if let Some(outdated) = self.current.outdated(Instant::now()) {
            state += &format!(", but what is restricted is closed: {outdated}");
        } else if silence > FRESH {
            state += &format!(", not confirmed for {} s", silence.as_secs());
        }
        state += "\n";
        if let Some(shortage) = &self.shortage {
            state += &format!("{shortage}\n");
        }
        text(StatusCode::OK, state)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut metrics = String::new();
        if let Err(error) = encode(&mut metrics, &self.counters) {
            error!(%error, "cannot write the metrics");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n");
        }
        let mut response = text(StatusCode::OK, metrics);
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::Sample;

    fn admin() -> Admin {
        Admin {
            current: Arc::default(),
            counters: Counters::default(),
            shutdown: CancellationToken::new(),
            shortage: None,
        }
    }

    fn status(admin: &Admin, path: &str) -> u16 {
        let request = Request::get(path).body(()).unwrap();
        admin.answer(&request).status().as_u16()
    }

    #[test]
    fn a_worker_is_ready_once_it_has_a_policy() {
        let admin = admin();
        assert_eq!(status(&admin, "/readyz"), 503);

        admin.current.publish(Arc::new(Sample::new().build()));

        assert_eq!(status(&admin, "/readyz"), 200);
    }

    #[test]
    fn a_worker_that_drains_is_alive_but_not_ready() {
        let admin = admin();
        admin.current.publish(Arc::new(Sample::new().build()));

        admin.shutdown.cancel();

        assert_eq!(status(&admin, "/readyz"), 503);
        assert_eq!(status(&admin, "/healthz"), 200);
        assert_eq!(status(&admin, "/metrics"), 200);
    }

    #[test]
    fn nothing_else_is_served() {
        assert_eq!(status(&admin(), "/v2/"), 404);
    }
}
