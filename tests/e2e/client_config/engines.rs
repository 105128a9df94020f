//! Each engine with its generated files.

use metahub_tests::parts::{Containerd, Containers, DockerHub, Dockerd, HostRoot};

use super::*;

const CERTS: &str = "--hosts-dir=/etc/containerd/certs.d";

async fn ctr_pull(containerd: &Containerd, host: &HostRoot, image: &str) -> Outcome {
    let args = ["images", "pull", CERTS, image];
    containerd.ctr_on(host, &args).await
}

async fn assert_containerd_has(containerd: &Containerd, image: &str, digest: &str) {
    let listed = containerd.ctr(&["images", "ls"]).await.text();
    let line = listed.lines().find(|line| line.starts_with(image));
    let line = line.expect("the image is listed");
    assert!(line.contains(digest), "{line}");
}

#[tokio::test]
async fn containerd_gets_its_hosts_variant_and_asks_no_registry_after_a_refusal() {
    let hub = Hub::start(Registry::Open).await;

    for line in [
        "containerd --enforce --these",
        "containerd --enforce --all",
        "containerd --enforce --these --via login",
        "containerd --enforce --all --via login",
        "nerdctl --enforce --these",
    ] {
        let host = hub.host(line).await;
        let containerd = Containerd::start().await;
        let image = hub.image(REPOSITORY);
        ctr_pull(&containerd, &host, &image).await.text();
        let said = ctr_pull(&containerd, &host, &hub.image(DENIED))
            .await
            .complaint();

        assert_containerd_has(&containerd, &image, hub.wanted()).await;
        assert!(said.contains("403 Forbidden"), "{line}: {said}");
        assert_eq!(hub.tap.passed(), 0, "{line}");
    }
}

#[tokio::test]
async fn containerd_that_is_not_enforced_goes_past_a_refusal() {
    let hub = Hub::start(Registry::Open).await;

    for line in [
        "containerd --these",
        "containerd --all",
        "containerd --these --via login",
    ] {
        let host = hub.host(line).await;
        let containerd = Containerd::start().await;
        let image = hub.image(REPOSITORY);
        ctr_pull(&containerd, &host, &image).await.text();
        let before = hub.tap.passed();
        ctr_pull(&containerd, &host, &hub.image(DENIED))
            .await
            .text();

        assert_containerd_has(&containerd, &image, hub.wanted()).await;
        assert!(hub.tap.passed() > before, "{line}");
        hub.assert_secret_stayed(&host);
    }
}

#[tokio::test]
async fn a_registry_that_asks_containerd_for_a_login_is_not_given_the_hosts() {
    let hub = Hub::start(Registry::AsksForLogin).await;
    let host = hub.host("containerd --these --via login").await;
    let containerd = Containerd::start().await;

    let denied = ctr_pull(&containerd, &host, &hub.image(DENIED)).await;

    denied.complaint();
    assert!(basic_in(host.path()).is_some(), "there is no secret");
    assert!(hub.tap.has_seen("401 Unauthorized"));
    hub.assert_secret_stayed(&host);
}

#[tokio::test]
async fn a_registry_that_asks_podman_for_a_login_is_not_given_the_hosts() {
    let hub = Hub::start(Registry::AsksForLogin).await;
    let host = hub.host("podman --these --via login").await;
    let podman = Containers::podman();

    let denied = podman.run_on(&host, &["pull", &hub.image(DENIED)]).await;

    denied.complaint();
    assert!(hub.tap.has_seen("401 Unauthorized"));
    hub.assert_secret_stayed(&host);
}

/// `--user` stands for kubelet: containerd sends it to every host that requires
/// a login.
#[tokio::test]
async fn the_files_that_come_with_kubelets_provider_keep_its_secret_from_the_registry() {
    let hub = Hub::start(Registry::AsksForLogin).await;
    let host = hub.host("containerd --these --enforce").await;
    let containerd = Containerd::start().await;
    let Login { name, secret } = hub.login();
    let user = format!("--user={name}:{secret}");

    for repository in [REPOSITORY, DENIED] {
        let image = hub.image(repository);
        let args = ["images", "pull", CERTS, &user, &image];
        let pulled = containerd.ctr_on(&host, &args).await;

        assert_eq!(pulled.status.success(), repository == REPOSITORY);
    }

    assert_eq!(hub.tap.passed(), 0);
}

#[tokio::test]
async fn kubelets_provider_is_refused_until_containerd_reads_the_files() {
    let hub = Hub::start(Registry::Open).await;
    let host = HostRoot::trusting(&hub.registry.ca_pem());

    let said = hub
        .configure(&host, "kubelet --via login --enforce --these")
        .await;

    // The test's credential is not at the credential helper's path.
    assert!(said.complaint().contains("host login"));
    assert!(!host.path().join("etc/metahub").exists());
}

#[tokio::test]
async fn podman_gets_its_hosts_variant_and_asks_no_registry_after_a_refusal() {
    let hub = Hub::start(Registry::Open).await;

    for line in [
        "podman --enforce --these",
        "podman --enforce --these --via login",
    ] {
        let host = hub.host(line).await;
        let podman = Containers::podman();
        let image = hub.image(REPOSITORY);
        podman.run_on(&host, &["pull", &image]).await.text();
        let said = podman
            .run_on(&host, &["pull", &hub.image(DENIED)])
            .await
            .complaint();

        assert_eq!(podman.digest(&image).await, hub.wanted(), "{line}");
        assert!(said.contains("denied"), "{line}: {said}");
        assert_eq!(hub.tap.passed(), 0, "{line}");
    }
}

#[tokio::test]
async fn buildah_and_skopeo_are_refused_for_good_too() {
    let hub = Hub::start(Registry::Open).await;
    let host = hub.host("podman --enforce --these --via login").await;
    let (buildah, skopeo) = (Containers::buildah(), Containers::skopeo());
    let [image, denied] = [REPOSITORY, DENIED].map(|it| format!("docker://{}", hub.image(it)));
    let to = format!("dir:{}", skopeo.path_of("copy"));

    buildah.run_on(&host, &["pull", &image]).await.text();
    skopeo.run_on(&host, &["copy", &image, &to]).await.text();
    let complaints = [
        buildah.run_on(&host, &["pull", &denied]).await.complaint(),
        skopeo
            .run_on(&host, &["copy", &denied, &to])
            .await
            .complaint(),
    ];

    let listed = buildah.run(&["images", "--digests"]).await.text();
    assert!(listed.contains(hub.wanted()), "{listed}");
    assert!(
        complaints.iter().all(|it| it.contains("denied")),
        "{complaints:?}"
    );
    assert_eq!(hub.tap.passed(), 0);
}

#[tokio::test]
async fn podman_that_is_not_enforced_goes_past_a_refusal_without_the_secret() {
    let hub = Hub::start(Registry::Open).await;

    for line in ["podman --these", "podman --these --via login"] {
        let host = hub.host(line).await;
        let podman = Containers::podman();
        let image = hub.image(REPOSITORY);
        podman.run_on(&host, &["pull", &image]).await.text();
        let before = hub.tap.passed();
        podman
            .run_on(&host, &["pull", &hub.image(DENIED)])
            .await
            .text();

        assert_eq!(podman.digest(&image).await, hub.wanted(), "{line}");
        assert!(hub.tap.passed() > before, "{line}");
        hub.assert_secret_stayed(&host);
    }
}

#[tokio::test]
async fn docker_gets_its_hosts_variant_from_the_mirror_and_asks_docker_hub_after_a_refusal() {
    let hub = Hub::start(Registry::Open).await;
    let host = hub.host("docker").await;
    let settings = fs::read_to_string(host.path().join("etc/docker/daemon.json"));
    let docker_hub = DockerHub::start().await;
    let settings = settings.expect("it was written");
    let docker = Dockerd::start_with_settings(&settings, &docker_hub).await;

    docker.pull("qnib/bench:docker").await.text();
    let at_metahub = format!("{}/{DENIED}:docker", hub.node.addr());
    let refused = docker.pull(&at_metahub).await.complaint();
    let before = docker_hub.connections();
    docker.pull(&format!("{DENIED}:docker")).await.complaint();

    let digests = docker.repo_digests("qnib/bench:docker").await;
    assert_eq!(digests, [format!("{REPOSITORY}@{}", hub.wanted())]);
    assert!(refused.contains("denied"), "{refused}");
    assert_eq!(before, 0, "a name at MetaHub, or a pull that went well");
    assert!(docker_hub.connections() > 0);
}

#[tokio::test]
async fn docker_logs_in_at_metahub_with_the_file_that_was_written() {
    let hub = Hub::start(Registry::Open).await;
    let host = hub.host("docker --via login").await;
    let docker = Dockerd::start().await;
    let config = host.path().join("root/.docker").display().to_string();
    let image = format!("{}/{REPOSITORY}:docker", hub.cluster.host());

    let args = ["--config", &config, "pull", &image];
    docker.docker(&args).await.text();

    let name = format!("{}/{REPOSITORY}@{}", hub.cluster.host(), hub.wanted());
    assert_eq!(docker.repo_digests(&image).await, [name]);
}
