//! Engines that bypass MetaHub, or could: one faulty file at a time.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _};

use metahub_tests::{admin::Login, invocation::run, node, port::free_addr, program::ours};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::stage::{Said, doctor, host_root};

const DOCKER_HUB: &str = "etc/containerd/certs.d/docker.io/hosts.toml";

/// A host without a registry, for checks of engine files.
struct Host {
    root: TempDir,
    node: SocketAddr,
}

impl Host {
    fn new() -> Self {
        let login = Login {
            name: "qnib-type1~node1".into(),
            secret: "hunter2-secret".into(),
        };
        let root = host_root();
        let credential = node::credential("https://metahub.invalid", &login);
        let file = root.path().join("etc/metahub/host.json");
        credential.write(&file).expect("it can be written");
        let node = free_addr();
        Self { root, node }
    }

    /// A host with the files of `client-config`.
    async fn configured(args: &[&str]) -> Self {
        let host = Self::new();
        host.configure(args).await;
        host
    }

    async fn configure(&self, args: &[&str]) {
        let (node, out) = (
            self.node.to_string(),
            self.root.path().display().to_string(),
        );
        let mut all = vec!["client-config"];
        all.extend(args);
        all.extend(["--node-addr", &node, "--out", &out]);
        run(&ours("metahubctl"), all).await.text();
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a file")).expect("it can be done");
        fs::write(path, text.replace("NODE", &self.node.to_string())).expect("it can be done");
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).expect("it can be done")
    }

    /// Runs doctor. It fails, because there is no registry, but checks the
    /// engines.
    async fn doctor(&self) -> Said {
        doctor(self.root.path(), self.node, &[]).await
    }
}

#[tokio::test]
async fn every_configuration_that_is_written_to_be_enforced_is_found_to_be() {
    for engine in ["containerd", "podman", "k3s"] {
        let host = Host::configured(&[engine, "--enforce"]).await;

        let said = host.doctor().await;

        let line = format!("ok    {engine}: ");
        let lines = said.lines();
        let line = lines.iter().find(|it| it.starts_with(&line));
        let line = line.unwrap_or_else(|| panic!("{engine}: {lines:#?}"));
        assert!(
            line.contains("images of docker.io come from MetaHub and from nowhere else"),
            "{line}"
        );
        let others = lines
            .iter()
            .filter(|it| it.contains(&format!("  {engine}: ")));
        assert!(others.clone().all(|it| it.starts_with("ok")), "{lines:#?}");
    }
}

#[tokio::test]
async fn every_configuration_that_is_not_enforced_is_warned_of() {
    for (engine, next) in [
        ("containerd", "client-config containerd --out / --enforce"),
        ("podman", "client-config podman --out / --enforce"),
        ("k3s", "disable-default-registry-endpoint"),
        ("docker", "name images by MetaHub's address"),
        ("buildkit", "name images by MetaHub's address"),
    ] {
        let host = Host::configured(&[engine]).await;

        let said = host.doctor().await;

        said.line("warn", engine, "not enforced: after a refusal", next);
    }
}

#[tokio::test]
async fn a_host_without_a_configured_engine_is_told_how() {
    let said = Host::new().doctor().await;

    said.line(
        "warn",
        "engines",
        "no engine on this host",
        "metahubctl client-config",
    );
}

#[tokio::test]
async fn an_engine_that_is_asked_for_and_not_configured_is_named() {
    let host = Host::configured(&["containerd", "--enforce"]).await;

    let said = doctor(host.root.path(), host.node, &["--engine", "docker"]).await;

    said.line("warn", "docker", "not configured", "client-config docker");
    assert!(!said.has("containerd"), "{}", said.all());
}

#[tokio::test]
async fn a_mirror_that_resolves_tags_ahead_of_metahub_fails_in_each_engine() {
    for (engine, path, text) in [
        (
            // The file in spegel's format.
            "containerd",
            DOCKER_HUB,
            "server = 'http://NODE'\n\n[host.'http://10.0.0.7:30020']\ncapabilities = ['pull', 'resolve']\n\n\
             [host.'http://NODE']\ncapabilities = ['pull', 'resolve']\n",
        ),
        (
            // The file in Dragonfly's format.
            "docker",
            "etc/docker/daemon.json",
            r#"{"registry-mirrors": ["http://127.0.0.1:4001", "http://NODE"]}"#,
        ),
        (
            "podman",
            "etc/containers/registries.conf.d/90-metahub.conf",
            "[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = '127.0.0.1:4001'\n\
             [[registry.mirror]]\nlocation = 'NODE/docker.io'\ninsecure = true\n",
        ),
        (
            "buildkit",
            "etc/buildkit/buildkitd.toml",
            "[registry.'docker.io']\nmirrors = ['http://127.0.0.1:4001', 'http://NODE']\n",
        ),
        (
            "k3s",
            "etc/rancher/k3s/registries.yaml",
            "mirrors:\n  docker.io:\n    endpoint: ['http://127.0.0.1:4001', 'http://NODE']\n",
        ),
    ] {
        let host = Host::new();
        host.put(path, text);

        let said = host.doctor().await;

        said.line(
            "fail",
            engine,
            "before MetaHub: it hands out the variant of another host",
            "put MetaHub first",
        );
    }
}

#[tokio::test]
async fn a_mirror_that_serves_digests_alone_may_come_first() {
    let host = Host::new();
    host.put(
        DOCKER_HUB,
        "server = 'http://NODE'\n[host.'http://10.0.0.7:30020']\ncapabilities = ['pull']\n",
    );

    let said = host.doctor().await;

    assert!(said.all().contains("ok    containerd: "), "{}", said.all());
}

#[tokio::test]
async fn the_embedded_registry_of_k3s_is_known_to_come_first() {
    let host = Host::configured(&["k3s", "--enforce"]).await;
    host.put("etc/rancher/k3s/config.yaml", "embedded-registry: true\n");

    let said = host.doctor().await;

    said.line("fail", "k3s", "spegel", "put MetaHub first");
}

#[tokio::test]
async fn a_directory_without_hosts_toml_that_shadows_the_default_fails() {
    let host = Host::configured(&["containerd", "--enforce", "--all"]).await;
    fs::create_dir_all(host.root.path().join("etc/containerd/certs.d/ghcr.io")).unwrap();

    let said = host.doctor().await;

    said.line("fail", "containerd", "ghcr.io shadows _default", "rmdir");
}

#[tokio::test]
async fn a_directory_that_leads_elsewhere_beside_the_default_is_warned_of() {
    let host = Host::configured(&["containerd", "--enforce", "--all"]).await;
    host.put(
        "etc/containerd/certs.d/quay.io/hosts.toml",
        "[host.'https://mirror.example']\n",
    );

    let said = host.doctor().await;

    said.line(
        "warn",
        "containerd",
        "images of quay.io do not come",
        "--upstreams quay.io",
    );
}

#[tokio::test]
async fn files_of_containerd_that_it_takes_for_broken_fail() {
    let host = Host::new();
    for (text, what) in [
        ("server = 'http://NODE'\n", "has no [host] table"),
        ("server = http://NODE\n", "is no TOML"),
    ] {
        host.put(DOCKER_HUB, text);

        let said = host.doctor().await;

        let lines = said.lines();
        let found = lines
            .iter()
            .any(|it| it.starts_with("fail  containerd: ") && it.contains(what));
        assert!(found, "{what}: {lines:#?}");
    }
}

#[tokio::test]
async fn a_config_of_containerd_that_does_not_read_the_directory_fails() {
    let host = Host::configured(&["containerd", "--enforce"]).await;
    let old = "plugins.'io.containerd.grpc.v1.cri'.registry";
    let new = "plugins.'io.containerd.cri.v1.images'.registry";
    for (text, what) in [
        ("version = 2\n".to_owned(), "has no config_path"),
        (
            format!("version = 3\n[{old}]\nconfig_path = '/etc/containerd/certs.d'\n"),
            "with the key of version 2",
        ),
        (
            format!("version = 3\n[{new}]\nconfig_path = '/etc/other'\n"),
            "reads /etc/other",
        ),
        (
            format!(
                "version = 2\n[{old}]\nconfig_path = '/etc/containerd/certs.d'\n\
                 [{old}.mirrors.'docker.io']\nendpoint = ['https://a']\n"
            ),
            "registry.mirrors, which containerd refuses",
        ),
    ] {
        host.put("etc/containerd/config.toml", &text);

        let said = host.doctor().await;

        said.line("fail", "containerd", what, "restart containerd");
    }
    let good = format!("version = 2\n[{old}]\nconfig_path = '/etc/containerd/certs.d'\n");
    host.put("etc/containerd/config.toml", &good);
    let said = host.doctor().await;
    assert!(
        said.all()
            .contains("config.toml reads /etc/containerd/certs.d"),
        "{}",
        said.all()
    );
}

#[tokio::test]
async fn a_provider_of_kubelet_beside_a_fallback_is_a_leak() {
    let host = Host::configured(&["containerd"]).await;
    host.put(
        "etc/metahub/kubelet-credential-provider.yaml",
        "kind: CredentialProviderConfig\n",
    );

    let said = host.doctor().await;

    said.line(
        "fail",
        "containerd",
        "shows this host's secret to https://registry-1.docker.io",
        "--enforce",
    );
}

#[tokio::test]
async fn a_generated_file_that_was_changed_by_hand_is_named() {
    for (engine, path) in [
        ("containerd", DOCKER_HUB),
        ("podman", "etc/containers/registries.conf.d/90-metahub.conf"),
        ("buildkit", "etc/buildkit/buildkitd.toml"),
        ("k3s", "etc/rancher/k3s/registries.yaml"),
    ] {
        let host = Host::configured(&[engine]).await;
        let text = host.text(path);
        host.put(path, &(text + "\n# one more line\n"));

        let said = host.doctor().await;

        said.line("warn", engine, "changed by hand", "client-config");
    }
}

#[tokio::test]
async fn a_mirror_of_docker_that_wants_a_login_fails() {
    let host = Host::new();
    let mirrors = r#"{"registry-mirrors": ["https://metahub.invalid"]}"#;
    host.put("etc/docker/daemon.json", mirrors);

    let said = host.doctor().await;

    said.line(
        "fail",
        "docker",
        "to which docker sends no login",
        "--via node",
    );
}

#[tokio::test]
async fn a_mirror_of_podman_that_is_asked_for_digests_alone_fails() {
    let host = Host::new();
    host.put(
        "etc/containers/registries.conf.d/90-metahub.conf",
        "[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'NODE/docker.io'\n\
         insecure = true\npull-from-mirror = 'digest-only'\n",
    );

    let said = host.doctor().await;

    said.line(
        "fail",
        "podman",
        "tags of docker.io are not resolved by MetaHub",
        "client-config podman",
    );
}

#[tokio::test]
async fn plain_http_that_podman_is_not_told_of_fails() {
    let host = Host::new();
    host.put(
        "etc/containers/registries.conf.d/90-metahub.conf",
        "[[registry]]\nprefix = 'docker.io'\nlocation = 'NODE/docker.io'\n",
    );

    let said = host.doctor().await;

    said.line(
        "fail",
        "podman",
        "only with insecure = true",
        "client-config podman",
    );
}

#[tokio::test]
async fn a_later_drop_in_of_podman_that_wins_is_what_counts() {
    let host = Host::configured(&["podman", "--enforce"]).await;
    host.put(
        "etc/containers/registries.conf.d/99-site.conf",
        "[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'NODE/docker.io'\ninsecure = true\n",
    );

    let said = host.doctor().await;

    said.line("warn", "podman", "99-site.conf: not enforced", "--enforce");
}

#[tokio::test]
async fn a_mirror_of_containerd_without_a_login_is_warned_of() {
    let host = Host::new();
    host.put(DOCKER_HUB, "server = 'https://metahub.invalid'\n[host]\n");

    let said = host.doctor().await;

    said.line(
        "warn",
        "containerd",
        "has no login for https://metahub.invalid",
        "--via node",
    );
}

#[tokio::test]
async fn a_file_that_this_user_may_not_read_is_named_where_root_is_needed() {
    let host = Host::configured(&["containerd", "--enforce"]).await;
    let path = host.root.path().join("etc/docker/daemon.json");
    // Reading a directory fails, also for root, as does another user's file.
    fs::create_dir_all(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();

    let said = host.doctor().await;

    said.line(
        "warn",
        "docker",
        "/etc/docker/daemon.json cannot be read",
        "daemon.json",
    );
}

#[tokio::test]
async fn services_of_a_swarm_that_are_pinned_by_digest_are_named() {
    let host = Host::configured(&["containerd", "--enforce"]).await;
    let service = |name: &str, image: &str| serde_json::json!({"Spec": {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": image}}}});
    let digest = "a".repeat(64);
    let services = serde_json::json!([
        service("web", &format!("alpine:latest@sha256:{digest}")),
        service("db", "postgres:17"),
    ]);
    fs::create_dir_all(host.root.path().join("run")).unwrap();
    let listener = UnixListener::bind(host.root.path().join("run/docker.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let body = match request[..read].starts_with(b"GET /info") {
                true => serde_json::json!({"Swarm": {"ControlAvailable": true}}).to_string(),
                false => services.to_string(),
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });

    let said = host.doctor().await;

    said.line(
        "warn",
        "swarm",
        "pinned by digest, web:",
        "--no-resolve-image",
    );
}
