//! Debian's docker-registry as an upstream, with images pushed to it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use metahub_cli::demo::image::{Content, Image, ImageSet};
use tempfile::TempDir;

use crate::{
    authority::Authority, parts::answers, port::free_addr_at, process::Process, program::Program,
};

const PROGRAM: Program = Program {
    name: "docker-registry",
    install: "install the Debian package docker-registry",
};

/// The account of a private registry.
pub const ACCOUNT: (&str, &str) = ("robot", "hunter2-hunter2");
/// [`ACCOUNT`] as Basic sends it, and as `htpasswd` keeps it.
const BASIC: HeaderValue = HeaderValue::from_static("Basic cm9ib3Q6aHVudGVyMi1odW50ZXIy");
const HTPASSWD: &str = "robot:$2y$05$metahubmetahubmetahubOEkAMMHtKDrqZ7OT0uQK0HQ0nkH8OsNq\n";

/// A registry on a free port, empty at first.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Process,
    addr: SocketAddr,
    scheme: &'static str,
    /// One that is let in.
    client: reqwest::Client,
    _dir: TempDir,
}

impl DockerRegistry {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same, at another address of this machine.
    pub async fn start_at(ip: Ipv4Addr) -> Self {
        Self::start_with(ip, "").await
    }

    /// Starts one that pulls through from another and keeps what it got.
    pub async fn start_mirror_of(other: &Self) -> Self {
        let remote = format!("proxy: {{remoteurl: '{}'}}\n", other.url());
        Self::start_with(Ipv4Addr::LOCALHOST, &remote).await
    }

    /// Starts one that speaks TLS, with a certificate of `authority`, and lets
    /// in nobody but [`ACCOUNT`].
    pub async fn start_private(authority: &Authority) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let identity = authority.identity("127.0.0.1");
        let kept = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path.display().to_string()
        };
        let certificate = kept("certificate.pem", &identity.certificate_pem());
        let key = kept("key.pem", &identity.key_pem());
        let passwords = kept("htpasswd", HTPASSWD);
        let http = format!(", tls: {{certificate: '{certificate}', key: '{key}'}}");
        let more = format!("auth: {{htpasswd: {{realm: private, path: '{passwords}'}}}}\n");
        let root = reqwest::Certificate::from_pem(authority.pem().as_bytes());
        let client = reqwest::Client::builder()
            .add_root_certificate(root.expect("an authority has a certificate"))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, BASIC)]))
            .build();
        let client = client.expect("a client can be made");
        let config = config(free_addr_at(Ipv4Addr::LOCALHOST), dir.path(), &http, &more);
        Self::serve(dir, config, "https", client).await
    }

    async fn start_with(ip: Ipv4Addr, more: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let config = config(free_addr_at(ip), dir.path(), "", more);
        Self::serve(dir, config, "http", reqwest::Client::new()).await
    }

    async fn serve(
        dir: TempDir,
        (addr, config): (SocketAddr, String),
        scheme: &'static str,
        client: reqwest::Client,
    ) -> Self {
        let file = dir.path().join("config.yml");
        fs::write(&file, config).expect("the configuration can be written");
        let args = ["serve".as_ref(), file.as_os_str()];
        let mut process = Process::start("docker-registry", &PROGRAM.path(), args, dir.path());
        let url = format!("{scheme}://{addr}/v2/");
        answers(&mut process, async || {
            let answer = client.get(&url).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Self {
            process,
            addr,
            scheme,
            client,
            _dir: dir,
        }
    }

    /// Where it serves.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// How many lines of its access log hold all of `words`.
    pub fn count(&self, words: &[&str]) -> usize {
        let log = self.process.log();
        log.lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Pushes an index with all its images, under a tag.
    pub async fn push_images(&self, repository: &str, tag: &str, set: &ImageSet) {
        for image in &set.images {
            self.push_image(repository, &image.manifest.digest, image)
                .await;
        }
        self.push_manifest(repository, tag, &set.index).await;
    }

    /// Pushes an image under a tag or its digest.
    pub async fn push_image(&self, repository: &str, reference: &str, image: &Image) {
        self.push_blob(repository, &image.config).await;
        self.push_blob(repository, &image.layer).await;
        self.push_manifest(repository, reference, &image.manifest)
            .await;
    }

    async fn push_manifest(&self, repository: &str, reference: &str, manifest: &Content) {
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.url());
        let request = self
            .client
            .put(url)
            .header("content-type", manifest.media_type)
            .body(manifest.bytes.clone());
        pushed(request).await;
    }

    async fn push_blob(&self, repository: &str, blob: &Content) {
        let start = format!("{}/v2/{repository}/blobs/uploads/", self.url());
        let upload = pushed(self.client.post(start)).await;
        let location = upload.headers()["location"]
            .to_str()
            .expect("a location is text")
            .to_owned();
        let put = self
            .client
            .put(location)
            .query(&[("digest", &blob.digest)])
            .header("content-type", "application/octet-stream")
            .body(blob.bytes.clone());
        pushed(put).await;
    }
}

/// The settings of one at `addr` that keeps all in `dir`.
fn config(addr: SocketAddr, dir: &Path, http: &str, more: &str) -> (SocketAddr, String) {
    let root = dir.join("data");
    let config = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{addr}'{http}}}\n{more}",
        root.display()
    );
    (addr, config)
}

async fn pushed(request: reqwest::RequestBuilder) -> reqwest::Response {
    let response = request.send().await.expect("the registry answers");
    let status = response.status();
    if status.is_success() {
        return response;
    }
    let body = response.text().await.unwrap_or_default();
    panic!("the registry refuses a push: {status} {body}");
}
