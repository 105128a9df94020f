//! Engines without a login that pull by MetaHub's credential helper.

use std::{fs, path::PathBuf};

use metahub_tests::{
    admin::Login,
    parts::{Cluster, Containers, Dockerd},
};
use serde_json::json;
use tempfile::TempDir;

/// Writes the credential of a host with `login` to a file.
fn credential(dir: &TempDir, cluster: &Cluster, login: &Login) -> PathBuf {
    let credential = json!({
        "schema": 1,
        "registry": format!("http://{}", cluster.host()),
        "control": "http://127.0.0.1:7400",
        "host_id": "node17",
        "machine_type": "qnib/type1",
        "login": login.name,
        "secret": login.secret,
    });
    let path = dir.path().join("host.json");
    fs::write(&path, credential.to_string()).expect("there is room");
    path
}

#[tokio::test]
async fn docker_podman_and_skopeo_pull_the_hosts_variant_without_a_login() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let host = cluster.host();
    let image = cluster.image("oci");
    let wanted = &cluster.oci.images[2];
    let file = credential(&dir, &cluster, &cluster.type1);
    let mut docker = Dockerd::start().await;
    let (mut podman, mut skopeo) = (Containers::podman(), Containers::skopeo());

    let before = [
        docker.pull(&image).await.complaint(),
        podman.pull(&image).await.complaint(),
        skopeo.copy(&image, "before").await.complaint(),
    ];
    docker.use_helper(&host, &file);
    podman.use_helper(&host, &file);
    skopeo.use_helper(&host, &file);
    docker.pull(&image).await.text();
    podman.pull(&image).await.text();
    skopeo.copy(&image, "after").await.text();

    for said in before {
        let said = said.to_lowercase();
        assert!(said.contains("auth"), "{said}");
    }
    assert_eq!(docker.run(&image).await.text(), wanted.message);
    assert_eq!(podman.digest(&image).await, wanted.manifest.digest);
    let manifest = skopeo.path_of("after") + "/manifest.json";
    let copied = fs::read(manifest).expect("a copy has a manifest");
    assert_eq!(copied, wanted.manifest.bytes);
}

#[tokio::test]
async fn a_rotated_secret_in_the_credential_is_used_at_the_next_pull() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = credential(&dir, &cluster, &cluster.type1);
    let mut skopeo = Containers::skopeo();
    skopeo.use_helper(&cluster.host(), &file);
    let image = cluster.image("oci");

    skopeo.copy(&image, "first").await.text();
    credential(&dir, &cluster, &cluster.type2);
    skopeo.copy(&image, "second").await.text();

    let manifest = skopeo.path_of("second") + "/manifest.json";
    let copied = fs::read(manifest).expect("a copy has a manifest");
    assert_eq!(copied, cluster.oci.images[1].manifest.bytes);
}
