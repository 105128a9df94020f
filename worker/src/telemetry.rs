//! Logs, and OpenTelemetry spans that follow a request from the client to the
//! upstream (W3C Trace Context).

mod log_writer;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tonic::transport::{Channel, Endpoint};
use tracing::{Level, Span, debug_span, field::Empty, warn};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::Targets, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use url::Url;

use self::log_writer::{LogFlush, LogWriter};
use crate::{Config, dns};

const SERVICE: &str = "metahub-worker";
/// The target of all spans that are exported.
const OURS: &str = "metahub_worker";

/// Keeps logs and spans going. Spans that were not sent yet are lost with it,
/// unless it is told to [`flush`](Telemetry::flush).
#[derive(Debug)]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
    _logs: Option<LogFlush>,
}

/// Starts logging to standard error, and sending spans if the settings say
/// so. Once in a process. Needs a tokio runtime.
pub fn init(config: &Config) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(&config.log).context("--log is not a filter")?;
    let (writer, logs) = LogWriter::to(std::io::stderr());
    let lines = fmt::layer()
        .log_internal_errors(false)
        .with_writer(move || writer.clone());
    let lines = if config.log_json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    let spans = config.otlp_endpoint.as_ref().map(provider).transpose()?;
    let exported = spans.as_ref().map(|spans| {
        tracing_opentelemetry::layer()
            .with_tracer(spans.tracer(SERVICE))
            .with_filter(Targets::new().with_target(OURS, Level::DEBUG))
    });
    Registry::default()
        .with(lines.with_filter(filter))
        .with(exported)
        .try_init()
        .context("logging has been started before")?;
    Ok(Telemetry {
        spans,
        _logs: Some(logs),
    })
}

impl Telemetry {
    /// Sends what has not been sent.
    pub fn flush(self) {
        if let Some(provider) = &self.spans
            && let Err(error) = provider.shutdown()
        {
            warn!(%error, "cannot send the last spans");
        }
    }
}

fn provider(endpoint: &Url) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel(endpoint)?)
        .build()
        .context("cannot send spans")?;
    let resource = Resource::builder().with_service_name(SERVICE).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

fn channel(endpoint: &Url) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_string())?;
    let connector = dns::connector(crate::CONNECT_TIMEOUT)?;
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// The span of a client's request, under the client's own if it has one.
pub(crate) fn request_span(request: &Parts) -> Span {
    let span = debug_span!(
        target: OURS,
        "request",
        otel.kind = "server",
        http.request.method = %request.method,
        url.path = request.uri.path(),
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(&Carrier(&request.headers));
        // Fails only where spans are not exported.
        span.set_parent(parent).ok();
    }
    span
}

/// Notes how a request was answered.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
}

/// Tells the receiver of `headers` that it is called from `span`.
pub(crate) fn inject(span: &Span, headers: &mut HeaderMap) {
    if !span.is_disabled() {
        let context = span.context();
        TraceContextPropagator::new().inject_context(&context, &mut Carrier(headers));
    }
}

/// Headers that carry a trace's context.
struct Carrier<H>(H);

impl Extractor for Carrier<&HeaderMap> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for Carrier<&mut HeaderMap> {
    fn set(&mut self, key: &str, value: String) {
        let header = HeaderName::try_from(key).ok();
        if let Some((name, value)) = header.zip(HeaderValue::try_from(value).ok()) {
            self.0.insert(name, value);
        }
    }
}

/// Makes spans of requests, in all tests from the first call on. A subscriber
/// of one thread is not enough: a span that another thread comes by first
/// stays disabled for all of them.
#[cfg(test)]
pub(crate) fn trace_tests() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE));
        let started = tracing::subscriber::set_global_default(Registry::default().with(layer));
        started.expect("nothing else starts one for all threads");
        // For spans that were come by in the meantime.
        tracing::callsite::rebuild_interest_cache();
    });
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Incoming;
    use tokio::{net::TcpListener, sync::mpsc};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::server::{Limits, serve};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn an_upstream_is_told_the_trace_of_the_client() {
        trace_tests();
        let request = Request::get("/v2/").header("traceparent", PARENT);
        let (parts, ()) = request.body(()).unwrap().into_parts();

        let mut headers = HeaderMap::new();
        inject(&request_span(&parts), &mut headers);

        let told = headers["traceparent"].to_str().unwrap();
        assert_eq!(told[..35], PARENT[..35], "another trace");
        assert_ne!(told[36..52], PARENT[36..52], "the client's own span");
    }

    /// A collector that answers as gRPC does, and passes on what it is sent.
    async fn collector(
        sent: mpsc::Sender<(String, Bytes)>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Url> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse()?;
        let answer = move |request: Request<Incoming>| {
            let sent = sent.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.expect("a whole body");
                sent.send((path, body.to_bytes())).await.ok();
                let mut response = Response::new(Empty::<Bytes>::new());
                let headers = response.headers_mut();
                headers.insert("grpc-status", HeaderValue::from_static("0"));
                headers.insert("content-type", HeaderValue::from_static("application/grpc"));
                response
            }
        };
        let limits = Limits {
            connections: 1,
            ..Limits::for_tests()
        };
        tokio::spawn(serve(listener, limits, answer, shutdown));
        Ok(url)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_is_sent_the_spans_of_requests() {
        trace_tests();
        let shutdown = CancellationToken::new();
        let _guard = shutdown.clone().drop_guard();
        let (send, mut sent) = mpsc::channel(1);
        let spans = provider(&collector(send, shutdown).await.unwrap()).unwrap();
        let (parts, ()) = Request::get("/v2/").body(()).unwrap().into_parts();

        let layer = tracing_opentelemetry::layer().with_tracer(spans.tracer(SERVICE));
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, || drop(request_span(&parts)));
        tokio::task::block_in_place(|| {
            let telemetry = Telemetry {
                spans: Some(spans),
                _logs: None,
            };
            telemetry.flush();
        });

        let (path, body) = sent.recv().await.unwrap();
        assert_eq!(
            path,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        );
        for part in [SERVICE.as_bytes(), b"http.request.method"] {
            assert!(body.windows(part.len()).any(|at| at == part));
        }
    }

    #[test]
    fn nobody_is_told_anything_where_nothing_is_traced() {
        let mut headers = HeaderMap::new();

        inject(&Span::current(), &mut headers);

        assert!(headers.is_empty());
    }
}
