//! What docker's and containerd's users see while an upstream is unwell: the
//! table in `docs/operations.md`.

use std::collections::BTreeMap;

use http::StatusCode;
use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    admin::Login,
    parts::{Containerd, Dockerd},
    site::Site,
};
use tempfile::TempDir;

/// What may be wrong with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    /// It answers everything with this.
    Says(StatusCode),
    /// It answers nothing.
    Silent,
    /// Nobody listens.
    Gone,
}

/// One upstream, how it is ill, and what is printed where nothing is cached,
/// by docker and by ctr.
type Cell = (&'static str, Ill, &'static str, &'static str);

const WEATHER: [Cell; 4] = [
    (
        "limited.test",
        Ill::Says(StatusCode::TOO_MANY_REQUESTS),
        "toomanyrequests: limited.test limits how often MetaHub may pull",
        "429 Too Many Requests",
    ),
    (
        "failing.test",
        Ill::Says(StatusCode::BAD_GATEWAY),
        "received unexpected HTTP status: 503 Service Unavailable",
        "503 Service Unavailable",
    ),
    (
        "silent.test",
        Ill::Silent,
        "received unexpected HTTP status: 503 Service Unavailable",
        "503 Service Unavailable",
    ),
    (
        "gone.test",
        Ill::Gone,
        "received unexpected HTTP status: 503 Service Unavailable",
        "503 Service Unavailable",
    ),
];

/// Refusals, which no cache stands in for.
const REFUSALS: [Cell; 3] = [
    (
        "missing.test",
        Ill::Says(StatusCode::NOT_FOUND),
        "not found: manifest unknown: missing.test has no manifest `qnib/bench:latest`",
        "not found",
    ),
    (
        "unauthorized.test",
        Ill::Says(StatusCode::UNAUTHORIZED),
        "denied: unauthorized.test denies access, or has no such repository",
        "403 Forbidden",
    ),
    (
        "denied.test",
        Ill::Says(StatusCode::FORBIDDEN),
        "denied: denied.test denies access, or has no such repository",
        "403 Forbidden",
    ),
];

/// A site with an upstream for each cell, and two engines.
struct Ward {
    site: Site,
    upstreams: BTreeMap<&'static str, Registry>,
    docker: Dockerd,
    containerd: Containerd,
    _cache: TempDir,
}

impl Ward {
    async fn of(cells: &[Cell]) -> Self {
        let cache = TempDir::new().expect("a temporary directory");
        let directory = format!("--blob-cache={}", cache.path().display());
        let flags = ["--tag-ttl=1ms", "--upstream-timeout=4s", &directory];
        let mut site = Site::start_with(1, Form::Docker, &flags).await;
        let mut upstreams = BTreeMap::new();
        for (name, ..) in cells {
            let registry = Registry::start().await.expect("loopback has a free port");
            let set = ImageSet::bench(Form::Docker).expect("memory takes all");
            registry.put_images(REPOSITORY, "latest", &set);
            let upstream = Upstream {
                name: (*name).into(),
                url: registry.url(),
                ..Default::default()
            };
            site.admin.put_upstream(upstream).await;
            upstreams.insert(*name, registry);
        }
        site.admin.all_current(1).await;
        let docker = Dockerd::start().await;
        let Login { name, secret } = &site.type1;
        let host = site.workers[0].addr().to_string();
        docker.login(&host, name, secret).await.text();
        Self {
            docker,
            containerd: Containerd::start().await,
            site,
            upstreams,
            _cache: cache,
        }
    }

    fn image(&self, upstream: &str) -> String {
        let host = self.site.workers[0].addr();
        format!("{host}/{upstream}/{REPOSITORY}:latest")
    }

    /// Has docker pull the image once, and forget it.
    async fn cache(&self, upstream: &str) {
        let image = self.image(upstream);
        self.docker.pull(&image).await.text();
        self.docker.docker(&["rmi", &image]).await.text();
    }

    fn fall_ill(&mut self, upstream: &str, ill: Ill) {
        match ill {
            Ill::Says(status) => self.upstreams[upstream].fail_with(Some(status)),
            Ill::Silent => self.upstreams[upstream].hold(true),
            Ill::Gone => drop(self.upstreams.remove(upstream)),
        }
    }

    /// Fails unless both engines say so, and pull nothing.
    async fn is_refused(&self, (upstream, _, docker, ctr): Cell) {
        let image = self.image(upstream);
        let Login { name, secret } = &self.site.type1;

        let said = self.docker.pull(&image).await.complaint();
        assert!(said.contains(docker), "{upstream}: {said}");
        let said = self.containerd.pull(&image, name, secret).await.complaint();
        assert!(said.contains(ctr), "{upstream}: {said}");
    }

    /// Fails unless both engines pull and run the image.
    async fn is_served(&self, upstream: &str) {
        let image = self.image(upstream);
        let Login { name, secret } = &self.site.type1;
        let wanted = &self.site.bench.images[2].message;

        self.docker.pull(&image).await.text();
        assert_eq!(self.docker.run(&image).await.text(), *wanted);
        self.containerd.pull(&image, name, secret).await.text();
        assert_eq!(self.containerd.run(&image).await, *wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_say_what_is_wrong_with_an_upstream_of_which_nothing_is_cached() {
    let cells = [&WEATHER[..], &REFUSALS].concat();
    let mut ward = Ward::of(&cells).await;

    for cell in cells {
        ward.fall_ill(cell.0, cell.1);
        ward.is_refused(cell).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_pull_what_is_cached_in_any_weather() {
    let mut ward = Ward::of(&WEATHER).await;

    for (upstream, ill, ..) in WEATHER {
        ward.cache(upstream).await;
        ward.fall_ill(upstream, ill);
        ward.is_served(upstream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_are_refused_what_is_cached_once_the_upstream_refuses_it() {
    let mut ward = Ward::of(&REFUSALS).await;

    for cell in REFUSALS {
        ward.cache(cell.0).await;
        ward.fall_ill(cell.0, cell.1);
        ward.is_refused(cell).await;
    }
}
