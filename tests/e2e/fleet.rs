//! Trimmed indexes behind traefik: made by one worker, asked of all.

use std::collections::{BTreeMap, BTreeSet};

use metahub_cli::demo::{
    digest::sha256,
    image::{Image, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_tests::{
    admin::Login,
    client::header,
    pairs::{PAIRS, Pairs, agent},
    parts::{Cluster, Containerd, Containers, Dockerd},
};

/// A cluster of three workers, and a Broadwell host that is given indexes.
async fn cluster() -> (Cluster, Login) {
    let mut cluster = Cluster::start_with(3, &[]).await;
    let lister = cluster
        .admin
        .create_lister("qnib", "lister", &["cpu:broadwell"])
        .await;
    cluster.admin.all_current(3).await;
    (cluster, lister)
}

/// What the host runs of `set`.
fn expected(set: &ImageSet) -> &Image {
    &set.images[2]
}

/// The digest of the trimmed index that the host gets of `set`.
async fn trimmed(cluster: &Cluster, lister: &Login, tag: &str, set: &ImageSet) -> String {
    let answer = cluster.client(lister).head(REPOSITORY, tag).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), set.index.media_type);
    let digest = header(&answer, "docker-content-digest");
    assert_ne!(digest, set.index.digest);
    digest
}

/// The workers that each pair's requests went to, as traefik's log tells.
fn served(log: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut served: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in log.lines() {
        // … "GET /v2/…" 200 9 "-" "pair/7" 12 "plain@file" "http://worker" 3ms
        let parts: Vec<_> = line.split('"').collect();
        if let [_, _, _, _, _, agent, _, _, _, worker, _] = parts[..] {
            served.entry(agent).or_default().insert(worker);
        }
    }
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_one_worker_names_is_served_by_the_one_whose_turn_is_next() {
    let mut cluster = Cluster::start_with(3, &[]).await;
    let upstream = Registry::start().await.expect("loopback has a free port");
    let url = upstream.url();
    let admin = &mut cluster.admin;
    admin.put_default_upstream("upstream.test", &url).await;
    let pairs = Pairs::of(&upstream, admin).await;
    admin.all_current(3).await;

    pairs.pull(&[cluster.traefik.addr()]).await;

    let log = cluster.traefik.log();
    let served = served(&log);
    let agents = (0..PAIRS).map(agent);
    let workers: Vec<_> = agents.filter_map(|a| served.get(&*a)).collect();
    let apart = workers.iter().filter(|two| two.len() == 2).count();
    assert!(apart > PAIRS / 10, "only {apart} pairs met two workers");
    let all: BTreeSet<_> = workers.into_iter().flatten().collect();
    assert_eq!(all.len(), 3, "{all:?}");
}

#[tokio::test]
async fn docker_pulls_a_trimmed_index_and_runs_what_it_names() {
    let (cluster, lister) = cluster().await;
    let host = cluster.host();

    for (tag, set) in cluster.forms() {
        // Both forms hold the same images: the second would find them here.
        let docker = Dockerd::start().await;
        let login = docker.login(&host, &lister.name, &lister.secret);
        login.await.text();
        let image = cluster.image(tag);
        docker.pull(&image).await.text();

        let digest = trimmed(&cluster, &lister, tag, set).await;
        let name = format!("{host}/{REPOSITORY}@{digest}");
        assert_eq!(docker.repo_digests(&image).await, [name]);
        assert_eq!(docker.run(&image).await.text(), expected(set).message);
    }
    cluster.assert_all_workers_served();
}

#[tokio::test]
async fn ctr_pulls_a_trimmed_index_and_runs_what_it_names() {
    let (cluster, lister) = cluster().await;
    let containerd = Containerd::start().await;

    for (tag, set) in cluster.forms() {
        let image = cluster.image(tag);
        let pulled = containerd.pull(&image, &lister.name, &lister.secret);
        pulled.await.text();

        let digest = trimmed(&cluster, &lister, tag, set).await;
        let listed = containerd.ctr(&["images", "ls"]).await.text();
        let line = listed.lines().find(|line| line.starts_with(&image));
        let line = line.expect("the image is listed");
        assert!(line.contains(&digest), "{line}");
        assert_eq!(containerd.run(&image).await, expected(set).message);
    }
    cluster.assert_all_workers_served();
}

#[tokio::test]
async fn podman_pulls_a_trimmed_index_and_runs_what_it_names() {
    let (cluster, lister) = cluster().await;
    let host = cluster.host();

    for (tag, set) in cluster.forms() {
        // Both forms hold the same images: the second would find them here.
        let podman = Containers::podman();
        let login = podman.login(&host, &lister.name, &lister.secret);
        login.await.text();
        let image = cluster.image(tag);
        podman.pull(&image).await.text();

        let digest = trimmed(&cluster, &lister, tag, set).await;
        let args = ["image", "inspect", "--format={{.RepoDigests}}", &image];
        let digests = podman.run(&args).await.text();
        assert!(digests.contains(&digest), "no {digest}: {digests}");
        let said = podman.run_image(&image).await.text();
        assert_eq!(said, expected(set).message);
    }
}

#[tokio::test]
async fn skopeo_reads_a_trimmed_index_and_copies_what_it_names() {
    let (cluster, lister) = cluster().await;
    let host = cluster.host();
    let skopeo = Containers::skopeo();
    let login = skopeo.login(&host, &lister.name, &lister.secret);
    login.await.text();

    for (tag, set) in cluster.forms() {
        let image = cluster.image(tag);
        let read = skopeo.inspect_raw(&image).await;
        skopeo.copy(&image, tag).await.text();

        read.text();
        let digest = trimmed(&cluster, &lister, tag, set).await;
        assert_eq!(sha256(&read.stdout), digest);
        let manifest = skopeo.path_of(tag) + "/manifest.json";
        let copied = std::fs::read(manifest).expect("a copy has a manifest");
        assert_eq!(copied, expected(set).manifest.bytes);
    }
}

#[tokio::test]
async fn without_a_control_plane_docker_gets_known_indexes_and_the_image_of_new_ones() {
    let (mut cluster, lister) = cluster().await;
    let host = cluster.host();
    let docker = Dockerd::start().await;
    let login = docker.login(&host, &lister.name, &lister.secret);
    login.await.text();
    let known = trimmed(&cluster, &lister, "oci", &cluster.oci).await;
    // The others hear of its recipe.
    cluster.admin.all_current(3).await;
    let (client, new) = (cluster.client(&lister), cluster.image("docker"));

    let _away = cluster.control.kill();

    for _ in 0..cluster.workers.len() {
        let answer = client.manifest(REPOSITORY, &known).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(sha256(&answer.bytes().await.unwrap()), known);
    }
    docker.pull(&new).await.text();
    let wanted = expected(&cluster.docker);
    let name = format!("{host}/{REPOSITORY}@{}", wanted.manifest.digest);
    assert_eq!(docker.repo_digests(&new).await, [name]);
    assert_eq!(docker.run(&new).await.text(), wanted.message);

    let known = format!("{host}/{REPOSITORY}@{known}");
    docker.pull(&known).await.text();
    let wanted = expected(&cluster.oci);
    assert_eq!(docker.run(&known).await.text(), wanted.message);
}
