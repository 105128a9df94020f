//! A trimmed index is served by every worker, whatever has happened since.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use metahub_cli::demo::{
    digest::sha256,
    image::{Form, REPOSITORY},
    registry::Registry,
};
use metahub_proto::{admin::v1 as pb, policy::v1 as policy};
use metahub_tests::{
    admin::{Admin, Login},
    client::{ALL_MANIFESTS, RegistryClient, header, sent},
    control::Control,
    site::Site,
    wait::eventually,
    worker::Worker,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// How often a host asks one worker for a tag and another for its digest.
const PAIRS: usize = 10_000;
const IMAGES: usize = 50;
const HOSTS: usize = 16;
/// What the variants of each image need.
const VARIANTS: [&[&str]; 6] = [
    &[],
    &["cpu:haswell"],
    &["cpu:skylake"],
    &["cpu:zen3"],
    &["cpu:zen4"],
    &["nvcap:8.0"],
];
/// What hosts have.
const TYPES: [&[&str]; 20] = [
    &["cpu:x86_64"],
    &["cpu:x86_64_v3"],
    &["cpu:sandybridge"],
    &["cpu:haswell"],
    &["cpu:broadwell"],
    &["cpu:skylake"],
    &["cpu:cascadelake"],
    &["cpu:icelake"],
    &["cpu:sapphirerapids"],
    &["cpu:zen"],
    &["cpu:zen2"],
    &["cpu:zen3"],
    &["cpu:zen4"],
    &["cpu:zen5"],
    &["cpu:haswell", "nvcap:7.0"],
    &["cpu:haswell", "nvcap:8.0"],
    &["cpu:skylake", "nvcap:8.6"],
    &["cpu:icelake", "nvcap:9.0"],
    &["cpu:zen3", "nvcap:8.0"],
    &["cpu:zen4", "nvcap:9.0"],
];

/// A type that is given indexes, with its login.
async fn lister(admin: &mut Admin, name: &str, features: &[&str]) -> Login {
    let machine_type = policy::MachineType {
        user: "qnib".into(),
        name: name.into(),
        os: "linux".into(),
        features: features.iter().map(|f| (*f).into()).collect(),
        present: policy::Present::Index.into(),
        ..Default::default()
    };
    admin.create(machine_type).await
}

/// A site whose image is an OCI index, and a Broadwell host that is given
/// indexes.
async fn site(workers: usize) -> (Site, Login) {
    let mut site = Site::start_with(workers, Form::Oci, &[]).await;
    let lister = lister(&mut site.admin, "lister", &["cpu:broadwell"]).await;
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

async fn head(client: &RegistryClient, repository: &str, reference: &str) -> Response {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let request = client.request(Method::HEAD, &path);
    sent(request.header("accept", ALL_MANIFESTS)).await
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
    let image = |digest: &str, platform: Value| json!({"mediaType": IMAGE, "size": 1, "digest": digest, "platform": platform});
    let (os, architecture) = ("linux", "amd64");
    let entries = [
        image(
            &generic.digest,
            json!({"os": os, "architecture": architecture}),
        ),
        image(
            &skylake.digest,
            json!({"os": os, "architecture": architecture, "features": ["cpu:skylake"]}),
        ),
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

fn put_index(upstream: &Registry, repository: &str, tag: &str, entries: &[Value]) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let digest = upstream.put_manifest(repository, INDEX, index.to_string());
    upstream.tag(repository, tag, Some(&digest));
}

/// Puts an image with variants of its own into the upstream.
fn put_image(upstream: &Registry, n: usize) {
    let entries = VARIANTS.map(|features| {
        let digest = sha256(format!("{n} {features:?}").as_bytes());
        json!({"mediaType": IMAGE, "size": 1, "digest": digest,
               "platform": {"os": "linux", "architecture": "amd64", "features": features}})
    });
    put_index(upstream, &repository(n), "latest", &entries);
}

fn repository(n: usize) -> String {
    format!("apps/app{n}")
}

/// As docker with the containerd image store does behind a load balancer that
/// takes turns: HEAD of the tag, then GET of the digest, at different workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_at_one_worker_and_its_digest_at_the_next_is_always_found() {
    let mut site = Site::start_with(3, Form::Oci, &["--tag-ttl=10m"]).await;
    (0..IMAGES).for_each(|n| put_image(&site.upstream, n));
    let mut hosts = Vec::new();
    for (n, features) in TYPES.iter().enumerate() {
        let login = lister(&mut site.admin, &format!("t{n}"), features).await;
        hosts.push([0, 1, 2].map(|worker| site.client(worker, &login)));
    }
    site.admin.all_current(3).await;

    let (hosts, digests) = (Arc::new(hosts), Arc::new(Mutex::new(HashMap::new())));
    let mut pulling = JoinSet::new();
    for host in 0..HOSTS {
        let (hosts, digests) = (hosts.clone(), digests.clone());
        pulling.spawn(async move {
            for n in (host..PAIRS).step_by(HOSTS) {
                let (image, kind) = (n % IMAGES, n / IMAGES % TYPES.len());
                let digest = pull(&hosts[kind], &repository(image), n).await;
                let mut digests = digests.lock().unwrap();
                let first = digests.entry((image, kind)).or_insert(digest.clone());
                assert_eq!(*first, digest, "one answer for one type and image");
            }
        });
    }
    while let Some(pulled) = pulling.join_next().await {
        pulled.unwrap();
    }

    assert_eq!(digests.lock().unwrap().len(), IMAGES * TYPES.len());
}

async fn pull(workers: &[RegistryClient; 3], repository: &str, n: usize) -> String {
    let answer = head(&workers[n % 3], repository, "latest").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), INDEX);
    let digest = header(&answer, "docker-content-digest");

    let answer = workers[(n + 1) % 3].manifest(repository, &digest).await;

    assert_eq!(answer.status(), 200, "pair {n}");
    let bytes = answer.bytes().await.expect("a whole body");
    assert_eq!(sha256(&bytes), digest);
    digest
}
