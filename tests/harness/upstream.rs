//! A registry in memory that counts what it is asked, and misbehaves on demand.

mod answer;
mod serve;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use self::serve::serve;
use crate::image::{Image, Manifest};

/// A registry on a free port, empty at first.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    shutdown: Option<DropGuard>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// How a registry answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Fine,
    /// To everything with this status and no body.
    Status(u16),
    /// To nothing until the mood changes.
    Holding,
}

#[derive(Debug)]
struct Shared {
    contents: Mutex<BTreeMap<String, Manifest>>,
    seen: Mutex<Vec<Seen>>,
    mood: watch::Sender<Mood>,
}

impl Upstream {
    /// Starts one.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            contents: Mutex::default(),
            seen: Mutex::default(),
            mood: watch::Sender::new(Mood::Fine),
        });
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (addr, guard) = serve(any, shared.clone()).await;
        Self {
            addr,
            shared,
            shutdown: Some(guard),
        }
    }

    /// Where it serves, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Takes an image under its digest.
    pub fn push_image(&self, repository: &str, image: &Image) {
        for blob in &image.blobs {
            self.push_blob(repository, blob);
        }
        let digest = image.manifest.digest();
        self.push_manifest(repository, &digest, &image.manifest);
    }

    /// Takes a blob.
    pub fn push_blob(&self, repository: &str, blob: &Bytes) {
        let blob = Manifest {
            media_type: "application/octet-stream",
            bytes: blob.clone(),
        };
        let path = format!("/v2/{repository}/blobs/{}", blob.digest());
        lock(&self.shared.contents).insert(path, blob);
    }

    /// Takes a manifest or index, under its digest and under `reference`.
    pub fn push_manifest(&self, repository: &str, reference: &str, manifest: &Manifest) {
        let mut contents = lock(&self.shared.contents);
        for reference in [reference, &manifest.digest()] {
            let path = format!("/v2/{repository}/manifests/{reference}");
            contents.insert(path, manifest.clone());
        }
    }

    /// Changes how it answers, also requests that it holds.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Closes its port and all connections.
    pub fn go_away(&mut self) {
        self.shutdown = None;
    }

    /// Opens its port again.
    pub async fn come_back(&mut self) {
        let (_, guard) = serve(self.addr, self.shared.clone()).await;
        self.shutdown = Some(guard);
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests had this method and a path with `part` in it.
    pub fn count(&self, method: &Method, part: &str) -> usize {
        let seen = lock(&self.shared.seen);
        let counts = |s: &&Seen| s.method == *method && s.path.contains(part);
        seen.iter().filter(counts).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
