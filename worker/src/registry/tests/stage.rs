//! A registry over an upstream with a few images, on a free port.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    auth::{self, Gate},
    peer::Proxies,
    recipes::Recipes,
    registry::Registry,
    server::{self, Limits},
    snapshot::{Current, sample::Sample},
    sync::Link,
    upstream::{Puller, Settings},
};

pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the upstream says about all that it has.
pub(super) const DEPRECATED: http::HeaderValue =
    http::HeaderValue::from_static(r#"299 - "deprecated""#);

/// What an upstream has, by path.
pub(super) type Contents = HashMap<String, (&'static str, Bytes)>;

/// The path and the `traceparent` of each request to the upstream.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A registry, its upstream, and the policy.
pub(super) struct Stage {
    pub(super) registry: Registry,
    pub(super) current: Arc<Current>,
    asked: Asked,
    /// The image of each variant: `generic`, `broadwell`, `skylake`, `gpu`.
    pub(super) images: HashMap<&'static str, String>,
    /// The digest of the index `latest`.
    pub(super) index: String,
    /// The way to the control plane. There is none until a test connects it.
    pub(super) link: Arc<Link>,
    url: String,
    /// Serves until this is dropped.
    upstream: Option<DropGuard>,
}

impl Stage {
    /// With the types `broadwell` and `skylake`, whose secret is `secret`.
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with more in the upstream.
    pub(super) async fn with(more: impl FnOnce(&mut Contents)) -> Self {
        let mut contents = Contents::new();
        let images: HashMap<_, _> = ["generic", "broadwell", "skylake", "gpu"]
            .map(|name| (name, put(&mut contents, name, IMAGE, &image(name))))
            .into();
        let all = index(&[
            (&images["generic"], &[]),
            (&images["broadwell"], &["cpu:broadwell"]),
            (&images["skylake"], &["cpu:skylake"]),
        ]);
        let index_digest = put(&mut contents, "latest", INDEX, &all);
        let gpu = index(&[(&images["gpu"], &["nvcap:5.2"])]);
        put(&mut contents, "gpu-only", INDEX, &gpu);
        let tags = r#"{"name":"app","tags":["latest"]}"#;
        let path = "/v2/qnib/app/tags/list".to_owned();
        contents.insert(
            path,
            ("application/json", Bytes::from_static(tags.as_bytes())),
        );

        more(&mut contents);

        let asked = Asked::default();
        let shutdown = CancellationToken::new();
        let url = serve(contents, asked.clone(), shutdown.clone()).await;
        let (registry, current, link) = worker();
        let stage = Self {
            registry,
            current,
            asked,
            images,
            index: index_digest,
            link,
            url,
            upstream: Some(shutdown.drop_guard()),
        };
        stage.publish(|policy| policy);
        stage
    }

    /// Refuses all further connections to the upstream.
    pub(super) fn stop_upstream(&mut self) {
        self.upstream = None;
    }

    /// Puts a new worker in the place of the one before: one that knows nothing.
    pub(super) fn replace_worker(&mut self) {
        let policy = self.current.load_full().expect("a policy");
        (self.registry, self.current, self.link) = worker();
        self.current.publish(policy);
    }

    /// Publishes the policy, with more in it.
    pub(super) fn publish(&self, more: impl FnOnce(Sample) -> Sample) {
        let policy = Sample::new()
            .upstream("here.test", &self.url, true)
            .machine_type("broadwell", r#"{"features":["cpu:broadwell"]}"#, "secret")
            .machine_type("skylake", r#"{"features":["cpu:skylake"]}"#, "secret");
        self.current.publish(Arc::new(more(policy).build()));
    }

    /// Where the upstream is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks as a host of `kind`.
    pub(super) async fn get(&self, kind: &str, path: &str) -> Heard {
        self.ask(by(kind, "GET", path)).await
    }

    /// Asks, and reads the answer to its end.
    pub(super) async fn ask(&self, request: http::request::Builder) -> Heard {
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let here = HeaderValue::from_static("worker.test");
        parts.headers.entry(header::HOST).or_insert(here);
        let (head, body) = self.registry.answer(parts).await.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Heard {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// The `traceparent` of each request to the upstream.
    pub(super) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().map(|(_, trace)| trace.clone()).collect()
    }

    /// How often the upstream was asked for a path that holds `part`.
    pub(super) fn asked_for(&self, part: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|(path, _)| path.contains(part)).count()
    }
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(super) fn digest(&self) -> &str {
        self.header("docker-content-digest")
    }

    /// The code and the message of an error.
    pub(super) fn error(&self) -> (String, String) {
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        let text = |key: &str| body["errors"][0][key].as_str().expect("text").to_owned();
        (text("code"), text("message"))
    }
}

fn worker() -> (Registry, Arc<Current>, Arc<Link>) {
    let (current, link) = (Arc::new(Current::default()), Arc::new(Link::default()));
    let puller = Puller::new(Settings::default()).expect("a puller");
    let recipes = Recipes::new(current.clone(), link.clone());
    let gate = Gate::new(auth::Settings {
        proxies: Proxies::default(),
        requests_per_login: 100,
        challenge: crate::Challenge::Basic,
    });
    let registry = Registry::new(gate, current.clone(), Arc::new(puller), recipes, 1 << 20);
    (registry, current, link)
}

/// A request of a host of `kind`.
pub(super) fn by(kind: &str, method: &str, path: &str) -> http::request::Builder {
    let credentials = STANDARD.encode(format!("qnib-{kind}:secret"));
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Basic {credentials}"))
}

/// The digest of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

pub(super) fn image(name: &str) -> Value {
    json!({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
           "config": {"digest": sha256(name.as_bytes()), "size": 1,
                      "mediaType": "application/vnd.oci.image.config.v1+json"}})
}

fn index(entries: &[(&String, &[&str])]) -> Value {
    let entry = |(digest, features): &(&String, &[&str])| {
        json!({"mediaType": IMAGE, "size": 1, "digest": digest,
               "platform": {"os": "linux", "architecture": "amd64", "features": features}})
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

/// Puts a manifest under a tag and its digest, and returns its digest.
pub(super) fn put(
    contents: &mut Contents,
    tag: &str,
    media_type: &'static str,
    manifest: &Value,
) -> String {
    let bytes = serde_json::to_vec_pretty(manifest).expect("JSON");
    put_bytes(contents, tag, media_type, bytes)
}

/// The same, as text that need not be JSON.
pub(super) fn put_bytes(
    contents: &mut Contents,
    tag: &str,
    media_type: &'static str,
    bytes: Vec<u8>,
) -> String {
    let bytes = Bytes::from(bytes);
    let digest = sha256(&bytes);
    for reference in [tag, &digest] {
        let path = format!("/v2/qnib/app/manifests/{reference}");
        contents.insert(path, (media_type, bytes.clone()));
    }
    digest
}

async fn serve(contents: Contents, asked: Asked, shutdown: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let contents = Arc::new(contents);
    let answer = move |request: Request<hyper::body::Incoming>| {
        let trace = request.headers().get("traceparent");
        let trace = trace.map_or("", |trace| trace.to_str().expect("text"));
        let asking = (request.uri().path().to_owned(), trace.to_owned());
        asked.lock().expect("no panic").push(asking);
        let found = contents.get(request.uri().path()).cloned();
        std::future::ready(match found {
            Some((media_type, bytes)) => {
                let mut response = Response::new(Full::new(bytes));
                let media_type = http::HeaderValue::from_static(media_type);
                response.headers_mut().insert("content-type", media_type);
                response.headers_mut().insert("warning", DEPRECATED);
                response
            }
            None => {
                let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        })
    };
    tokio::spawn(server::serve(
        listener,
        Limits::for_tests(),
        answer,
        shutdown,
    ));
    url
}
