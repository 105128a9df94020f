//! Debian's docker-registry as an upstream, with images pushed to it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use metahub_cli::demo::image::{Content, Image, ImageSet};
use tempfile::TempDir;

use crate::{parts::http_answers, port::free_addr_at, process::Process, program::Program};

const PROGRAM: Program = Program {
    name: "docker-registry",
    install: "install the Debian package docker-registry",
};

/// A registry on a free port, empty at first.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Process,
    addr: SocketAddr,
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

    async fn start_with(ip: Ipv4Addr, more: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let addr = free_addr_at(ip);
        let file = dir.path().join("config.yml");
        let root = dir.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{addr}'}}\n{more}",
            root.display()
        );
        fs::write(&file, config).expect("the configuration can be written");
        let args = ["serve".as_ref(), file.as_os_str()];
        let mut process = Process::start("docker-registry", &PROGRAM.path(), args, dir.path());
        http_answers(&mut process, &format!("http://{addr}/v2/")).await;
        Self {
            process,
            addr,
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
        format!("http://{}", self.addr)
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
        let request = reqwest::Client::new()
            .put(url)
            .header("content-type", manifest.media_type)
            .body(manifest.bytes.clone());
        pushed(request).await;
    }

    async fn push_blob(&self, repository: &str, blob: &Content) {
        let client = reqwest::Client::new();
        let start = format!("{}/v2/{repository}/blobs/uploads/", self.url());
        let upload = pushed(client.post(start)).await;
        let location = upload.headers()["location"]
            .to_str()
            .expect("a location is text")
            .to_owned();
        let put = client
            .put(location)
            .query(&[("digest", &blob.digest)])
            .header("content-type", "application/octet-stream")
            .body(blob.bytes.clone());
        pushed(put).await;
    }
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
