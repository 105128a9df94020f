//! A limit of the operator's own on how often an upstream is asked.

use std::time::Instant;

use metahub_cli::demo::{image::Form, registry::Registry};
use metahub_tests::{
    client::{error, header},
    site::Site,
    wait::eventually,
};
use tokio::task::JoinSet;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_IMAGE: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
/// More than get their turn while a client is held.
const CLIENTS: usize = 40;

/// A site that asks its upstream once a second.
async fn site() -> Site {
    let site = Site::start_with(1, Form::Docker, &["--upstream-rate=1", "--tag-ttl=0s"]).await;
    let digest = site.upstream.put_manifest("app", IMAGE, EMPTY_IMAGE);
    for n in 0..CLIENTS {
        site.upstream.tag("app", &format!("t{n}"), Some(&digest));
    }
    site
}

fn manifests(upstream: &Registry) -> usize {
    let requests = upstream.requests();
    let manifests = requests.iter().filter(|it| it.path.contains("/manifests/"));
    manifests.count()
}

#[tokio::test]
async fn clients_beyond_the_limit_are_held_for_a_while_and_then_told_when_to_come_back() {
    let site = site().await;
    let client = site.host();
    let began = Instant::now();

    let mut pulls = JoinSet::new();
    for n in 0..CLIENTS {
        let host = client.clone();
        pulls.spawn(async move { host.manifest("app", &format!("t{n}")).await });
    }
    let answers = pulls.join_all().await;

    let seconds = began.elapsed().as_secs() as usize;
    let (good, limited): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| it.status() == 200);
    assert_eq!(manifests(&site.upstream), good.len());
    // Those of the first second, and one for each that has begun since.
    assert!(
        (2..=seconds + 2).contains(&good.len()),
        "{} in {seconds} s",
        good.len()
    );
    assert!(!limited.is_empty());
    for answer in limited {
        assert_eq!(answer.status(), 429);
        assert!(header(&answer, "retry-after").parse::<u64>().unwrap() > 0);
        assert_eq!(error(answer).await.0, "TOOMANYREQUESTS");
    }
}

#[tokio::test]
async fn a_cached_tag_is_served_beyond_the_limit_and_the_answer_says_so() {
    let site = site().await;
    let host = site.host();
    host.digest("app", "t0").await;

    eventually("the limit is reached", async || {
        let kept = host.manifest("app", "t0").await;
        assert_eq!(kept.status(), 200);
        kept.headers().contains_key("warning")
    })
    .await;
}

#[tokio::test]
async fn blobs_are_not_counted() {
    let site = site().await;
    let mut pulls = JoinSet::new();

    for n in 0..CLIENTS {
        let blob = site.upstream.put_blob("app", format!("layer {n}"));
        let host = site.host();
        pulls.spawn(async move { host.get(&format!("/v2/app/blobs/{blob}")).await.status() });
    }

    assert_eq!(pulls.join_all().await, [200; CLIENTS]);
}
