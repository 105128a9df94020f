//! Hosts that ask for a tag and then for its digest, as docker with the
//! containerd image store does.
//!
//! The two are requests of their own: behind a load balancer that takes turns
//! they reach different workers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use metahub_cli::demo::{digest::sha256, registry::Registry};
use reqwest::{Method, Response};
use tokio::task::JoinSet;

use crate::{
    admin::{Admin, Login},
    client::{ALL_MANIFESTS, RegistryClient, header, sent},
    index::{INDEX, entry, put_index},
};

/// How often a host asks for a tag and for its digest.
pub const PAIRS: usize = 10_000;
const IMAGES: usize = 50;
/// How many hosts ask at the same time.
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

/// Hosts of twenty types that are given indexes, for fifty images.
#[derive(Debug)]
pub struct Pairs {
    logins: Vec<Login>,
}

/// The clients of one type, one for each place.
type Places = Vec<RegistryClient>;
/// The digest that each image has for each type.
type Digests = Mutex<HashMap<(usize, usize), String>>;

impl Pairs {
    /// Puts the images into `upstream`, and creates the types.
    pub async fn of(upstream: &Registry, admin: &mut Admin) -> Self {
        (0..IMAGES).for_each(|n| put_image(upstream, n));
        let mut logins = Vec::new();
        for (n, features) in TYPES.iter().enumerate() {
            logins.push(
                admin
                    .create_lister("qnib", &format!("t{n}"), features)
                    .await,
            );
        }
        Self { logins }
    }

    /// Asks for each tag at one place and for its digest at the next, until
    /// there are [`PAIRS`]. Fails where an answer is missing or wrong.
    pub async fn pull(&self, places: &[SocketAddr]) {
        let clients = |login| move |at: &SocketAddr| RegistryClient::new(*at, login);
        let types = self.logins.iter();
        let types = types.map(|login| places.iter().map(clients(login)).collect());
        let types: Arc<Vec<Places>> = Arc::new(types.collect());
        let digests: Arc<Digests> = Arc::default();
        let mut hosts = JoinSet::new();
        for host in 0..HOSTS {
            hosts.spawn(pull_all(host, types.clone(), digests.clone()));
        }
        while let Some(pulled) = hosts.join_next().await {
            pulled.expect("all answers are right");
        }
        let digests = digests.lock().expect("no host panics").len();
        assert_eq!(digests, IMAGES * TYPES.len(), "every type gets every image");
    }
}

/// The user agent of the `n`th pair's requests.
pub fn agent(n: usize) -> String {
    format!("pair/{n}")
}

/// Puts an image with variants of its own into the upstream.
fn put_image(upstream: &Registry, n: usize) {
    let entries = VARIANTS.map(|features| {
        let digest = sha256(format!("{n} {features:?}").as_bytes());
        entry(&digest, features)
    });
    put_index(upstream, &repository(n), "latest", &entries);
}

fn repository(image: usize) -> String {
    format!("apps/app{image}")
}

async fn pull_all(host: usize, types: Arc<Vec<Places>>, digests: Arc<Digests>) {
    for n in (host..PAIRS).step_by(HOSTS) {
        let (image, kind) = (n % IMAGES, n / IMAGES % TYPES.len());
        let digest = pull(&types[kind], &repository(image), n).await;
        let mut digests = digests.lock().expect("no host panics");
        let first = digests.entry((image, kind)).or_insert(digest.clone());
        assert_eq!(*first, digest, "one answer for one type and image");
    }
}

async fn pull(places: &Places, repository: &str, n: usize) -> String {
    let (one, next) = (&places[n % places.len()], &places[(n + 1) % places.len()]);
    let path = format!("/v2/{repository}/manifests/");
    let named = ask(one, Method::HEAD, &format!("{path}latest"), n).await;
    assert_eq!(header(&named, "content-type"), INDEX);
    let digest = header(&named, "docker-content-digest");

    let answer = ask(next, Method::GET, &format!("{path}{digest}"), n).await;

    assert_eq!(header(&answer, "content-type"), INDEX);
    let bytes = answer.bytes().await.expect("a whole body");
    assert_eq!(sha256(&bytes), digest, "pair {n}");
    digest
}

async fn ask(place: &RegistryClient, method: Method, path: &str, n: usize) -> Response {
    let request = place.request(method.clone(), path);
    let request = request.header("accept", ALL_MANIFESTS);
    let answer = sent(request.header("user-agent", agent(n))).await;
    assert_eq!(answer.status(), 200, "pair {n}: {method} {path}");
    answer
}
