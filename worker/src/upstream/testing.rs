//! A registry on loopback for tests: serves what it is given, remembers what
//! it was asked, and misbehaves when told to.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use url::Url;

use super::hash::sha256;
use crate::reference::Digest;

/// The OCI index media type.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The OCI image manifest media type.
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Intercept = Box<dyn Fn(&Seen) -> Option<Answer> + Send>;

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What happens after the body's bytes.
    pub(crate) ending: Ending,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    /// The connection is cut.
    Cut,
    /// Nothing more comes, and nothing ends.
    Stall,
}

#[derive(Default)]
struct State {
    manifests: HashMap<String, (String, Bytes)>,
    blobs: HashMap<String, Bytes>,
    seen: Vec<Seen>,
    intercept: Option<Intercept>,
    closed: watch::Sender<usize>,
}

impl Registry {
    /// A registry at 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// A registry at another address of this host.
    pub(crate) async fn start_at(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            address,
            state,
            accepting,
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Serves `body` as the manifest `name`, for example `app:latest`, and
    /// under its digest.
    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, body: &str) -> Digest {
        let media_type = if body.contains("\"manifests\"") {
            INDEX
        } else {
            IMAGE
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let digest = sha256(&body);
        let mut state = self.state.lock().unwrap();
        for reference in [tag, digest.as_str()] {
            let path = format!("/v2/{repository}/manifests/{reference}");
            let manifest = (media_type.to_owned(), body.clone());
            state.manifests.insert(path, manifest);
        }
        digest
    }

    /// Serves `body` as a blob of `repository`.
    pub(crate) fn put_blob(&self, repository: &str, body: impl Into<Bytes>) -> Digest {
        let body = body.into();
        let digest = sha256(&body);
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.state.lock().unwrap().blobs.insert(path, body);
        digest
    }

    /// Answers what `intercept` says, and the usual where it says nothing.
    pub(crate) fn intercept(&self, intercept: impl Fn(&Seen) -> Option<Answer> + Send + 'static) {
        self.state.lock().unwrap().intercept = Some(Box::new(intercept));
    }

    /// Answers the usual again.
    pub(crate) fn behave(&self) {
        self.state.lock().unwrap().intercept = None;
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Waits until `count` connections have been closed.
    pub(crate) async fn connections_closed(&self, count: usize) {
        let mut closed = self.state.lock().unwrap().closed.subscribe();
        closed.wait_for(|closed| *closed >= count).await.unwrap();
    }

    /// How many requests began like `prefix`, for example `GET /v2/`.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        let seen = self.seen();
        let lines = seen.iter().map(|s| format!("{} {}", s.method, s.target));
        lines.filter(|line| line.starts_with(prefix)).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Seen {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Answer {
    /// `status` with an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            ending: Ending::Clean,
        }
    }

    /// 200 with `body`.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::status(200)
        }
    }

    /// The same with a header more.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    /// The same with another ending.
    pub(crate) fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped, and so ended, with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(async |request: Request<Incoming>| {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let request = Request::from_parts(parts, body);
                Ok::<_, Infallible>(state.lock().unwrap().respond(&request))
            });
            // A cut body is an error here, and what the test wants.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            let state = state.lock().unwrap();
            state.closed.send_modify(|closed| *closed += 1);
        });
    }
}

impl State {
    fn respond(&mut self, request: &Request<Bytes>) -> Response<Body> {
        let seen = Seen {
            method: request.method().clone(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        self.seen.push(seen.clone());
        let intercepted = self.intercept.as_ref().and_then(|i| i(&seen));
        let answer = intercepted.unwrap_or_else(|| self.usual(&seen));
        response(answer, &seen.method)
    }

    fn usual(&self, seen: &Seen) -> Answer {
        if let Some((media_type, body)) = self.manifests.get(&seen.target) {
            return Answer::ok(body.clone())
                .with("content-type", media_type)
                .with("docker-content-digest", sha256(body).as_str());
        }
        match self.blobs.get(&seen.target) {
            Some(blob) => part(blob, seen.header(header::RANGE)),
            None => Answer::status(404),
        }
    }
}

/// A blob, or the part `bytes=a-` or `bytes=a-b` of it.
pub(crate) fn part(blob: &Bytes, range: &str) -> Answer {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Answer::ok(blob.clone());
    };
    let total = blob.len();
    let first: usize = first.parse().unwrap();
    if first >= total {
        return Answer::status(416).with("content-range", &format!("bytes */{total}"));
    }
    let last = last
        .parse()
        .map_or(total - 1, |last: usize| last.min(total - 1));
    Answer {
        status: 206,
        ..Answer::ok(blob.slice(first..=last))
    }
    .with("content-range", &format!("bytes {first}-{last}/{total}"))
}

fn response(answer: Answer, method: &Method) -> Response<Body> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    *response.headers_mut() = answer.headers;
    let length = HeaderValue::from(answer.body.len());
    if !response.headers().contains_key(header::TRANSFER_ENCODING) {
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_LENGTH).or_insert(length);
    }
    let bytes = if method == Method::HEAD {
        Bytes::new()
    } else {
        answer.body
    };
    let first = stream::iter([Ok(Frame::data(bytes))]);
    let body = match answer.ending {
        Ending::Clean => StreamBody::new(first.boxed()).boxed_unsync(),
        Ending::Cut => {
            // Not at once: what came before is to be flushed.
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("as the test wants"))
            });
            StreamBody::new(first.chain(cut).boxed()).boxed_unsync()
        }
        Ending::Stall => StreamBody::new(first.chain(stream::pending()).boxed()).boxed_unsync(),
    };
    response.map(|()| body)
}
