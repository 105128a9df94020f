//! Upstreams that are left alone for a while, and quotas that are saved.

use std::time::Duration;

use http::StatusCode;
use metahub_cli::demo::{
    digest::sha256,
    image::{Form, REPOSITORY},
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::{error, header},
    hostile::{HostileHost, Said},
    site::Site,
    wait::{eventually, within},
};
use tokio::task::JoinSet;

const APP: &str = "flaky.test/app";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const SMALL_IMAGE: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const CLIENTS: usize = 30;
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A site with a second upstream that says what a test makes up.
async fn site() -> (Site, HostileHost) {
    let upstream = HostileHost::start(1).await;
    let mut site = Site::start_with(1, Form::Docker, &["--tag-ttl=0s"]).await;
    let flaky = Upstream {
        name: "flaky.test".into(),
        url: upstream.url(),
        ..Default::default()
    };
    site.admin.put_upstream(flaky).await;
    site.admin.all_current(1).await;
    (site, upstream)
}

/// How often `upstream` was asked for something whose path has `part`.
fn asked(upstream: &HostileHost, part: &str) -> usize {
    let received = upstream.received();
    let lines = received.lines().filter(|line| line.ends_with("HTTP/1.1"));
    lines.filter(|line| line.contains(part)).count()
}

/// The statuses that many clients get at a time, the nth for `path(n)`.
async fn all_get(site: &Site, path: impl Fn(usize) -> String) -> Vec<u16> {
    let client = site.host();
    let mut pulls = JoinSet::new();
    for n in 0..CLIENTS {
        let (host, path) = (client.clone(), path(n));
        pulls.spawn(async move { host.get(&path).await.status().as_u16() });
    }
    pulls.join_all().await
}

/// Fails unless an upstream that fails is left alone, and then found again.
async fn rests(path: impl Fn(usize) -> String, good: fn() -> Said) {
    let (site, upstream) = site().await;
    upstream.says(|_| Said::status("503 Service Unavailable"));
    // What it takes to find out.
    all_get(&site, &path).await;
    let before = asked(&upstream, "/v2/");

    let answers = all_get(&site, &path).await;

    assert_eq!(answers, [503; CLIENTS]);
    let probes = asked(&upstream, "/v2/") - before;
    assert!(probes < CLIENTS / 2, "{probes} requests");
    upstream.says(move |_| good());
    within(LONGEST_REST * 2, "it is asked again", async || {
        site.host().get(&path(0)).await.status() == 200
    })
    .await;
    assert_eq!(all_get(&site, &path).await, [200; CLIENTS]);
}

#[tokio::test]
async fn an_upstream_that_fails_manifest_after_manifest_is_left_alone_for_a_while() {
    let path = |n| format!("/v2/{APP}/manifests/t{n}");
    rests(path, || Said::ok(IMAGE, SMALL_IMAGE)).await;
}

#[tokio::test]
async fn an_upstream_that_fails_list_after_list_is_left_alone_for_a_while() {
    let tags = || Said::ok("application/json", r#"{"name":"app","tags":["v1"]}"#);
    rests(|n| format!("/v2/flaky.test/app{n}/tags/list"), tags).await;
}

#[tokio::test]
async fn an_upstream_that_fails_referrers_after_referrers_is_left_alone_for_a_while() {
    let path = |n: usize| {
        let digest = sha256(&[n as u8]);
        format!("/v2/{APP}/referrers/{digest}")
    };
    let none = || Said::ok(INDEX, r#"{"schemaVersion":2,"manifests":[]}"#);
    rests(path, none).await;
}

#[tokio::test]
async fn a_limit_is_kept_to_for_as_long_as_the_upstream_says() {
    let (site, upstream) = site().await;
    upstream.says(|_| {
        let headers = [("Retry-After", "600"), ("Content-Length", "0")];
        Said::headed("429 Too Many Requests", &headers)
    });

    for tag in ["one", "two", "three"] {
        let limited = site.host().manifest(APP, tag).await;

        assert_eq!(limited.status(), 429);
        let seconds: u64 = header(&limited, "retry-after").parse().unwrap();
        assert!((500..=600).contains(&seconds), "{seconds}");
        assert_eq!(error(limited).await.0, "TOOMANYREQUESTS");
    }

    assert_eq!(asked(&upstream, "/manifests/"), 1);
}

/// What the worker says of the quota.
async fn quota(site: &Site) -> Option<String> {
    let url = format!("http://{}/metrics", site.workers[0].admin_addr());
    let answer = reqwest::get(url).await.expect("the worker answers");
    let text = answer.text().await.expect("metrics are text");
    let name = r#"metahub_upstream_ratelimit_remaining{upstream="flaky.test"} "#;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name).map(Into::into))
}

#[tokio::test]
async fn the_end_of_a_quota_is_seen_in_the_metrics_and_saved_for_what_is_new() {
    let (site, upstream) = site().await;
    let says = |remaining: &'static str| {
        upstream.says(move |_| {
            let length = SMALL_IMAGE.len().to_string();
            let headers = [
                ("Content-Type", IMAGE),
                ("Content-Length", &length),
                ("RateLimit-Limit", "100;w=21600"),
                ("RateLimit-Remaining", remaining),
            ];
            Said::headed("200 OK", &headers).and(SMALL_IMAGE)
        });
    };
    says("76;w=21600");
    site.host().digest(APP, "latest").await;
    assert_eq!(quota(&site).await.as_deref(), Some("76"));
    says("3;w=21600");
    site.host().digest(APP, "other").await;
    let before = asked(&upstream, "/v2/");

    let kept = site.host().manifest(APP, "latest").await;

    assert_eq!(
        (kept.status(), asked(&upstream, "/v2/")),
        (StatusCode::OK, before)
    );
    header(&kept, "warning");
    assert_eq!(quota(&site).await.as_deref(), Some("3"));
    site.host().digest(APP, "new").await;
    assert_eq!(asked(&upstream, "/v2/"), before + 1);
}

/// A site whose worker has pulled the image with a token.
async fn with_token(tag_ttl: &str) -> Site {
    let mut site = Site::start_with(1, Form::Docker, &[tag_ttl]).await;
    let private = Upstream {
        name: "private.test".into(),
        url: site.upstream.url(),
        username: "robot".into(),
        password: "hunter2".into(),
        ..Default::default()
    };
    site.admin.put_upstream(private).await;
    site.admin.create_grant(None, "private.test/**").await;
    site.admin.all_current(1).await;
    site.upstream.require_token("robot", "hunter2");
    let name = format!("private.test/{REPOSITORY}");
    site.host().digest(&name, "latest").await;
    site
}

#[tokio::test]
async fn what_a_fresh_token_does_not_find_is_gone_and_not_asked_for_at_once() {
    let site = with_token("--tag-ttl=2s").await;
    let name = format!("private.test/{REPOSITORY}");
    site.upstream.tag(REPOSITORY, "latest", None);
    let host = site.host();
    eventually("the tag is gone", async || {
        host.manifest(&name, "latest").await.status() == 404
    })
    .await;
    site.upstream.forget_requests();

    for _ in 0..10 {
        let gone = host.manifest(&name, "latest").await;
        assert_eq!(gone.status(), 404);
        assert_eq!(gone.headers().get("warning"), None);
        assert_eq!(error(gone).await.0, "MANIFEST_UNKNOWN");
    }

    assert!(site.upstream.requests().len() < 10);
}

#[tokio::test]
async fn what_a_fresh_token_may_not_see_is_not_served_from_the_cache() {
    let site = with_token("--tag-ttl=0s").await;
    let name = format!("private.test/{REPOSITORY}");
    let host = site.host();

    // As if the token server had taken the account's rights away.
    site.upstream.fail_with(Some(StatusCode::UNAUTHORIZED));

    eventually("the tag is denied", async || {
        host.manifest(&name, "latest").await.status() == 403
    })
    .await;
    site.upstream.fail_with(None);
    eventually("it is served again", async || {
        host.manifest(&name, "latest").await.status() == 200
    })
    .await;
}
