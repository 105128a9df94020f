//! A trimmed index is served by every worker, whatever has happened since.

use metahub_cli::demo::{
    digest::sha256,
    image::{Form, REPOSITORY},
};
use metahub_proto::admin::v1 as pb;
use metahub_tests::{
    admin::Login,
    client::{RegistryClient, header},
    control::Control,
    index::{INDEX, entry, put_index},
    pairs::Pairs,
    site::Site,
    wait::eventually,
    worker::Worker,
};
use serde_json::Value;

/// A site whose image is an OCI index, and a Broadwell host that is given
/// indexes.
async fn site(workers: usize) -> (Site, Login) {
    let mut site = Site::start_with(workers, Form::Oci, &[]).await;
    let lister = site
        .admin
        .create_lister("qnib", "lister", &["cpu:broadwell"])
        .await;
    site.admin.all_current(workers).await;
    (site, lister)
}

/// The digest of the trimmed index that the first worker gives a host.
async fn made(site: &Site, login: &Login) -> String {
    let answer = site.client(0, login).manifest(REPOSITORY, "latest").await;
    assert_eq!(header(&answer, "content-type"), INDEX);
    header(&answer, "docker-content-digest")
}

/// Asks a worker for a digest. What comes must be what it says.
async fn serves(worker: &Worker, login: &Login, digest: &str) {
    let client = RegistryClient::new(worker.addr(), login);
    let answer = client.manifest(REPOSITORY, digest).await;
    assert_eq!(answer.status(), 200);
    let bytes = answer.bytes().await.expect("a whole body");
    assert_eq!(sha256(&bytes), digest);
}

#[tokio::test]
async fn a_trimmed_digest_made_by_one_worker_is_served_by_another() {
    let (site, lister) = site(2).await;

    let digest = made(&site, &lister).await;

    serves(&site.workers[1], &lister, &digest).await;
    let broadwell = &site.bench.images[2].manifest;
    let other = site.client(1, &lister).manifest(REPOSITORY, "latest").await;
    let index: Value = other.json().await.unwrap();
    assert_eq!(index["manifests"][0]["digest"], broadwell.digest);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_trimmed_digest_is_served_by_a_worker_that_is_started_later() {
    let (site, lister) = site(1).await;
    let digest = made(&site, &lister).await;

    let later = Worker::start(site.control.place()).await;

    serves(&later, &lister, &digest).await;
}

#[tokio::test]
async fn a_trimmed_digest_outlives_the_machine_type_that_it_was_made_for() {
    let (mut site, lister) = site(2).await;
    let digest = made(&site, &lister).await;

    let request = pb::DeleteTypeRequest {
        user: "qnib".into(),
        name: "lister".into(),
    };
    site.admin.client().delete_type(request).await.unwrap();
    site.admin.all_current(2).await;

    for worker in &site.workers {
        serves(worker, &site.type2, &digest).await;
    }
}

#[tokio::test]
async fn a_trimmed_digest_outlives_the_control_plane_and_every_worker() {
    let (mut site, lister) = site(2).await;
    let digest = made(&site, &lister).await;

    for worker in site.workers.drain(..) {
        worker.stop().await;
    }
    let place = site.control.stop().await;
    let control = Control::start_at(place).await;

    for worker in [
        Worker::start(control.place()).await,
        Worker::start(control.place()).await,
    ] {
        serves(&worker, &lister, &digest).await;
    }
}

#[tokio::test]
async fn while_the_control_plane_is_away_known_digests_are_served_and_new_ones_give_way() {
    let (mut site, lister) = site(2).await;
    let digest = made(&site, &lister).await;
    site.admin.all_current(2).await;

    let _away = site.control.stop().await;

    for worker in &site.workers {
        serves(worker, &lister, &digest).await;
    }
    let generic = &site.bench.images[0].manifest;
    let skylake = &site.bench.images[1].manifest;
    let entries = [
        entry(&generic.digest, &[]),
        entry(&skylake.digest, &["cpu:skylake"]),
    ];
    put_index(&site.upstream, REPOSITORY, "new", &entries);
    let client = RegistryClient::new(site.workers[0].addr(), &lister);
    eventually("the worker notices", async || {
        let answer = client.manifest(REPOSITORY, "new").await;
        assert_eq!(answer.status(), 200);
        answer.headers().contains_key("warning")
    })
    .await;
    assert_eq!(client.digest(REPOSITORY, "new").await, generic.digest);
}

/// As docker with the containerd image store does behind a load balancer that
/// takes turns: HEAD of the tag, then GET of the digest, at different workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_at_one_worker_and_its_digest_at_the_next_is_always_found() {
    let mut site = Site::start_with(3, Form::Oci, &["--tag-ttl=10m"]).await;
    let pairs = Pairs::of(&site.upstream, &mut site.admin).await;
    site.admin.all_current(3).await;

    let places: Vec<_> = site.workers.iter().map(Worker::addr).collect();
    pairs.pull(&places).await;
}
