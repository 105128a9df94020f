//! What hosts get while the upstream has a bad day.

use http::StatusCode;
use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    client::{error, header},
    site::Site,
    wait::eventually,
};

/// A site whose worker has pulled the image, and trusts no tag for long.
async fn cached() -> Site {
    let site = Site::start_with(1, Form::Docker, &["--tag-ttl=1ms"]).await;
    site.host().digest(REPOSITORY, "latest").await;
    site
}

#[tokio::test]
async fn a_cached_tag_is_served_with_a_warning_while_the_upstream_is_gone() {
    let site = cached().await;
    let host = site.host();
    drop(site.upstream);

    let answer = host.manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 200);
    let warning = header(&answer, "warning");
    let stale = warning.starts_with("110 ") || warning.starts_with("299 ");
    assert!(stale, "{warning}");
    let broadwell = &site.bench.images[2].manifest;
    assert_eq!(answer.bytes().await.unwrap(), broadwell.bytes);
}

#[tokio::test]
async fn a_cached_tag_is_served_with_a_warning_while_the_upstream_limits() {
    let site = cached().await;
    site.upstream.fail_with(Some(StatusCode::TOO_MANY_REQUESTS));

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 200);
    header(&answer, "warning");
}

#[tokio::test]
async fn a_fresh_answer_carries_no_warning() {
    let site = cached().await;

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.headers().get("warning"), None);
}

#[tokio::test]
async fn an_image_that_is_not_cached_is_unavailable_while_the_upstream_is_gone() {
    let site = cached().await;
    let host = site.host();
    drop(site.upstream);

    let answer = host.manifest(REPOSITORY, "other").await;

    assert_eq!(answer.status(), 503);
    header(&answer, "retry-after");
    assert!(!error(answer).await.1.is_empty());
}

#[tokio::test]
async fn a_tag_that_moves_upstream_is_followed() {
    let site = cached().await;
    let skylake = &site.bench.images[1].manifest.digest;

    site.upstream.tag(REPOSITORY, "latest", Some(skylake));

    let host = site.host();
    eventually("the tag means the other image", async || {
        host.digest(REPOSITORY, "latest").await == *skylake
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_is_taken_away_upstream_is_not_found() {
    let site = cached().await;

    site.upstream.tag(REPOSITORY, "latest", None);

    let host = site.host();
    eventually("the tag is gone", async || {
        host.manifest(REPOSITORY, "latest").await.status() == 404
    })
    .await;
}

#[tokio::test]
async fn within_a_tags_time_the_upstream_is_not_asked_again() {
    let site = Site::start_with(1, Form::Docker, &["--tag-ttl=1h"]).await;
    let host = site.host();
    host.digest(REPOSITORY, "latest").await;
    site.upstream.forget_requests();

    for _ in 0..10 {
        host.digest(REPOSITORY, "latest").await;
    }

    assert_eq!(site.upstream.requests().len(), 0);
}
