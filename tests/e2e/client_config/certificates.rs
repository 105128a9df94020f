//! Engines that authenticate by a client certificate at a worker with TLS.

use metahub_tests::{
    authority::Authority,
    parts::{Containerd, Containers},
    site::Site,
};
use tempfile::TempDir;

use super::*;

/// A site whose worker accepts client certificates, and a host with one.
struct Secured {
    site: Site,
    host: HostRoot,
    _dir: TempDir,
}

impl Secured {
    /// Starts the site and configures `engine` on the host, which trusts no
    /// other authority.
    async fn start(engine: &str) -> Self {
        let (authority, dir) = (Authority::new(), TempDir::new().expect("a directory"));
        let path = |name: &str| dir.path().join(name).display().to_string();
        authority
            .identity("127.0.0.1")
            .write(dir.path(), "tls.crt", "tls.key");
        fs::write(dir.path().join("ca.crt"), authority.pem()).expect("it can be written");
        let flags = [
            ("cert", "tls.crt"),
            ("key", "tls.key"),
            ("client-ca", "ca.crt"),
        ]
        .map(|(flag, file)| format!("--tls-{flag}={}", path(file)));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let site = Site::start_with(1, Form::Docker, &flags).await;
        let identity = authority.client(&site.type1.name);
        identity.write(dir.path(), "host.crt", "host.key");
        let host = HostRoot::trusting(&Authority::new().pem());
        let args = [
            "client-config".into(),
            engine.into(),
            "--via=cert".into(),
            "--enforce".into(),
            "--upstreams=upstream.test".into(),
            format!("--cert={}", path("host.crt")),
            format!("--key={}", path("host.key")),
            format!("--registry=https://{}", site.workers[0].addr()),
            format!("--registry-ca-file={}", path("ca.crt")),
            format!("--out={}", host.path().display()),
        ];
        run(&ours("metahubctl"), args).await.text();
        Self {
            site,
            host,
            _dir: dir,
        }
    }

    fn wanted(&self) -> &str {
        &self.site.bench.images[2].manifest.digest
    }
}

const IMAGE: &str = "upstream.test/qnib/bench:latest";

#[tokio::test]
async fn containerd_gets_the_variant_of_its_hosts_certificate() {
    let secured = Secured::start("containerd").await;
    let containerd = Containerd::start().await;
    let args = [
        "images",
        "pull",
        "--hosts-dir=/etc/containerd/certs.d",
        IMAGE,
    ];

    containerd.ctr_on(&secured.host, &args).await.text();

    let listed = containerd.ctr(&["images", "ls"]).await.text();
    assert!(listed.contains(secured.wanted()), "{listed}");
}

#[tokio::test]
async fn podman_gets_the_variant_of_its_hosts_certificate() {
    let secured = Secured::start("podman").await;
    let podman = Containers::podman();

    podman.run_on(&secured.host, &["pull", IMAGE]).await.text();

    assert_eq!(podman.digest(IMAGE).await, secured.wanted());
}
