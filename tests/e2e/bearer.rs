//! Real engines behind traefik, where workers ask for tokens.

use metahub_cli::demo::image::{Image, REPOSITORY};
use metahub_tests::{
    admin::Login,
    parts::{Cluster, Containerd, Containers, Dockerd, OrasLogin, oras},
};
use serde_json::Value;

async fn cluster() -> Cluster {
    let flags = ["--challenge=bearer", "--trusted-proxy=127.0.0.0/8"];
    let cluster = Cluster::start_with(2, &flags).await;
    let url = format!("http://{}/v2/", cluster.host());
    let answer = reqwest::get(url).await.expect("traefik answers");
    let challenge = format!("{:?}", answer.headers().get("www-authenticate"));
    assert!(challenge.contains("Bearer realm"), "{challenge}");
    cluster
}

/// What a Broadwell host is to get.
fn expected(cluster: &Cluster) -> (&Image, String) {
    (&cluster.docker.images[2], cluster.image("docker"))
}

/// Fails unless a token was given through traefik.
fn assert_token_was_given(cluster: &Cluster) {
    let log = cluster.traefik.log();
    let given = |line: &str| line.contains(" /token") && line.contains("\" 200 ");
    assert!(log.lines().any(given), "no token was given:\n{log}");
}

#[tokio::test]
async fn docker_pulls_by_token_and_shows_why_it_gets_none() {
    let cluster = cluster().await;
    let docker = Dockerd::start().await;
    let Login { name, secret } = &cluster.type1;
    let (wanted, image) = expected(&cluster);
    let host = cluster.host();

    let said = docker.login(&host, name, "wrong").await.complaint();
    docker.login(&host, name, secret).await.text();
    docker.pull(&image).await.text();

    assert!(said.contains("password is wrong"), "{said}");
    assert_eq!(docker.run(&image).await.text(), wanted.message);
    assert_token_was_given(&cluster);
}

#[tokio::test]
async fn ctr_pulls_by_token() {
    let cluster = cluster().await;
    let containerd = Containerd::start().await;
    let Login { name, secret } = &cluster.type1;
    let (wanted, image) = expected(&cluster);

    containerd.pull(&image, name, secret).await.text();

    assert_eq!(containerd.run(&image).await, wanted.message);
    assert_token_was_given(&cluster);
}

#[tokio::test]
async fn podman_buildah_and_skopeo_pull_by_token() {
    let cluster = cluster().await;
    let (podman, skopeo) = (Containers::podman(), Containers::skopeo());
    let buildah = Containers::buildah();
    let Login { name, secret } = &cluster.type1;
    let (wanted, image) = expected(&cluster);
    let host = cluster.host();

    for engine in [&podman, &buildah, &skopeo] {
        engine.login(&host, name, "wrong").await.complaint();
        engine.login(&host, name, secret).await.text();
    }
    podman.pull(&image).await.text();
    buildah.pull(&image).await.text();
    skopeo.copy(&image, "copy").await.text();

    assert_eq!(podman.digest(&image).await, wanted.manifest.digest);
    let listed = buildah.run(&["images", "--digests"]).await.text();
    assert!(listed.contains(&wanted.manifest.digest), "{listed}");
    let copied = std::fs::read(skopeo.path_of("copy") + "/manifest.json");
    assert_eq!(copied.expect("a manifest"), wanted.manifest.bytes);
    assert_token_was_given(&cluster);
}

#[tokio::test]
async fn skopeo_and_docker_look_at_lists_and_manifests_by_token() {
    let cluster = cluster().await;
    let (skopeo, docker) = (Containers::skopeo(), Dockerd::start().await);
    let Login { name, secret } = &cluster.type1;
    let (wanted, image) = expected(&cluster);
    let host = cluster.host();
    skopeo.login(&host, name, secret).await.text();
    docker.login(&host, name, secret).await.text();

    let tags = skopeo.list_tags(&format!("{host}/{REPOSITORY}")).await;
    let raw = skopeo.inspect_raw(&image).await;
    let args = ["manifest", "inspect", "--insecure", &image];
    let inspected = docker.docker(&args).await.text();

    assert!(tags.text().contains("\"docker\""));
    raw.text();
    assert_eq!(raw.stdout, wanted.manifest.bytes);
    assert!(
        inspected.contains(wanted.layer.digest.as_str()),
        "{inspected}"
    );
    assert_token_was_given(&cluster);
}

#[tokio::test]
async fn oras_lists_tags_and_reads_a_manifest_by_token() {
    let cluster = cluster().await;
    let (wanted, _) = expected(&cluster);

    let host = cluster.traefik.addr();
    let image = (REPOSITORY, "docker");
    let said = oras(host, OrasLogin::Token, &cluster.type1, image).await;

    let said: Value = serde_json::from_str(&said.text()).expect("it prints JSON");
    let manifest: Value = serde_json::from_slice(&wanted.manifest.bytes).expect("JSON");
    assert!(said["pages"][0].to_string().contains("\"oci\""), "{said}");
    assert_eq!(said["manifest"], manifest);
    assert_token_was_given(&cluster);
}
