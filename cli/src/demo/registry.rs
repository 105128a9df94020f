//! A small registry in memory: the pull side of the distribution spec, and as
//! much of the push side as it takes to push an index.
//!
//! It is the demo's upstream, and that of tests: it keeps a log of what it was
//! asked, and can refuse to work. Blobs are put in by calls, not by HTTP.

mod answer;
mod contents;
mod entry;
mod push;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::contents::Contents;
use super::{digest::sha256, image::ImageSet};

/// A running registry. It stops when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `HEAD`, if the client does as it should.
    pub method: Method,
    /// The path and the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// What was answered.
    pub status: StatusCode,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    contents: Contents,
    requests: Vec<Request>,
    failure: Option<StatusCode>,
    account: Option<Account>,
}

/// Who may enter, and how that is shown.
#[derive(Debug)]
struct Account {
    username: String,
    passwords: Vec<String>,
    /// Where tokens are given out. `None`: the account itself is shown.
    realm: Option<String>,
}

impl Registry {
    /// Starts an empty registry on a free port of the loopback address.
    ///
    /// # Errors
    ///
    /// Fails when no port can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts an empty registry at `address`.
    ///
    /// # Errors
    ///
    /// Fails when the port cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, shared.clone(), stop.clone()));
        Ok(Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a blob in, and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        let mut state = self.shared.state();
        state.contents.put_blob(repository, &digest, bytes);
        digest
    }

    /// Puts a manifest or an index in, and returns its digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> String {
        let bytes = bytes.into();
        let digest = sha256(&bytes);
        let mut state = self.shared.state();
        state
            .contents
            .put_manifest(repository, &digest, media_type, bytes);
        digest
    }

    /// Makes a tag mean a digest. `None` takes the tag away.
    pub fn tag(&self, repository: &str, tag: &str, digest: Option<&str>) {
        self.shared.state().contents.tag(repository, tag, digest);
    }

    /// The bytes of the manifest or index that a tag or a digest names.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let state = self.shared.state();
        let repository = state.contents.repository(repository)?;
        Some(repository.manifest(reference)?.bytes.clone())
    }

    /// Puts an index with all its images in, under a tag.
    pub fn put_images(&self, repository: &str, tag: &str, set: &ImageSet) {
        for image in &set.images {
            self.put_blob(repository, image.config.bytes.clone());
            self.put_blob(repository, image.layer.bytes.clone());
            let manifest = &image.manifest;
            self.put_manifest(repository, manifest.media_type, manifest.bytes.clone());
        }
        let index = &set.index;
        let digest = self.put_manifest(repository, index.media_type, index.bytes.clone());
        self.tag(repository, tag, Some(&digest));
    }

    /// Asks for this name and password from now on, with a Basic challenge.
    pub fn require_account(&self, username: &str, password: &str) {
        self.shared.state().account = Some(Account {
            username: username.into(),
            passwords: vec![password.into()],
            realm: None,
        });
    }

    /// Asks for a token from now on, with a Bearer challenge. Gives tokens out
    /// at `/token` to this name and password, each for what it was asked for.
    pub fn require_token(&self, username: &str, password: &str) {
        self.shared.state().account = Some(Account {
            username: username.into(),
            passwords: vec![password.into()],
            realm: Some(format!("{}/token", self.url())),
        });
    }

    /// Takes this password of the account too, until another one is asked for.
    pub fn take_also(&self, password: &str) {
        if let Some(account) = &mut self.shared.state().account {
            account.passwords.push(password.into());
        }
    }

    /// Answers everything with this status from now on. `None` ends that.
    pub fn fail_with(&self, failure: Option<StatusCode>) {
        self.shared.state().failure = failure;
    }

    /// Answers nothing while this is so: requests are logged, and wait.
    pub fn hold(&self, hold: bool) {
        self.shared.held.send_replace(hold);
    }

    /// All that was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many requests had this method and a path that ends so.
    pub fn count(&self, method: &Method, path_end: &str) -> usize {
        let state = self.shared.state();
        let alike =
            |request: &&Request| request.method == *method && request.path.ends_with(path_end);
        state.requests.iter().filter(alike).count()
    }

    /// Forgets what was asked so far.
    pub fn forget_requests(&self) {
        self.shared.state().requests.clear();
    }
}

impl Shared {
    /// The state, whole even after a panic: each change is one assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while answers are held.
    async fn released(&self) {
        let mut held = self.held.subscribe();
        // The sender lives as long as `self`.
        let _ = held.wait_for(|held| !held).await;
    }

    fn answer(&self, request: &http::Request<Bytes>) -> answer::Answer {
        let mut state = self.state();
        let answer = answer::answer(&mut state, request);
        state.requests.push(Request {
            method: request.method().clone(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
            status: answer.status(),
        });
        answer
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Some(connection) = stop.run_until_cancelled(listener.accept()).await {
        if let Ok((stream, _)) = connection {
            let serving = serve(stream, shared.clone());
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(serving).await });
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request: http::Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = shared.answer(&http::Request::from_parts(head, body));
            shared.released().await;
            Ok::<_, hyper::Error>(answer)
        }
    });
    // A client that breaks off is its own affair.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
