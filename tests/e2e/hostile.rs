//! Upstreams that mean harm: what a client gets, who sees a credential, and
//! that the worker serves everybody else as before.

mod blobs;
mod credentials;
mod floods;
mod manifests;
mod tls;

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{client::error, hostile::HostileHost, site::Site};
use reqwest::Response;

/// The upstream as clients spell it, with one of its repositories.
const APP: &str = "hostile.test/app";
const ACCOUNT: (&str, &str) = ("metahub", "hunter2-hunter2");
/// [`ACCOUNT`] as Basic sends it.
const BASIC: &str = "bWV0YWh1YjpodW50ZXIyLWh1bnRlcjI=";
const TOKEN: &str = "token-of-the-upstream";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A site with a second upstream, which is hostile and given an account.
struct Siege {
    site: Site,
    upstream: HostileHost,
}

/// What a worker has for upstreams that time does not help: more than this
/// machine may stop for.
const PATIENT: &str = "--upstream-timeout=20s";
/// What it has for those that are to be given up.
const IMPATIENT: &str = "--upstream-timeout=500ms";

impl Siege {
    async fn start() -> Self {
        let upstream = HostileHost::start(1).await;
        let url = upstream.url();
        Self::with(upstream, &url, PATIENT).await
    }

    /// One whose worker gives up soon.
    async fn impatient() -> Self {
        let upstream = HostileHost::start(1).await;
        let url = upstream.url();
        Self::with(upstream, &url, IMPATIENT).await
    }

    async fn with(upstream: HostileHost, url: &str, patience: &str) -> Self {
        let flags = [patience, "--largest-blob=2MiB"];
        let mut site = Site::start_with(1, Form::Docker, &flags).await;
        site.admin.put_upstream(Self::account(url)).await;
        site.admin.create_grant(None, "hostile.test/**").await;
        site.admin.all_current(1).await;
        Self { site, upstream }
    }

    /// The upstream with its account, at `url`.
    fn account(url: &str) -> Upstream {
        Upstream {
            name: "hostile.test".into(),
            url: url.into(),
            username: ACCOUNT.0.into(),
            password: ACCOUNT.1.into(),
            ..Default::default()
        }
    }

    /// The answer to a pull of the hostile upstream's `app:latest`.
    async fn pull(&self) -> Response {
        self.site.host().manifest(APP, "latest").await
    }

    /// The answer to a pull of one of its blobs.
    async fn blob(&self, digest: &str) -> Response {
        let path = format!("/v2/{APP}/blobs/{digest}");
        self.site.host().get(&path).await
    }

    /// Fails unless pulling `app:latest` ends so, with the worker unharmed.
    async fn pull_fails(&self, status: u16, code: &str) {
        let answer = self.pull().await;

        assert_eq!(answer.status(), status);
        assert_eq!(error(answer).await.0, code);
        self.still_serves().await;
    }

    /// Fails unless the worker serves its other upstream.
    async fn still_serves(&self) {
        self.site.host().digest(REPOSITORY, "latest").await;
    }
}

/// Fails when `host` was sent anything of an account or a token.
#[track_caller]
fn assert_saw_no_secret(host: &HostileHost) {
    let received = host.received();
    for secret in [ACCOUNT.1, BASIC, TOKEN] {
        assert!(!received.contains(secret), "{received}");
    }
    assert!(!received.to_ascii_lowercase().contains("authorization"));
}
