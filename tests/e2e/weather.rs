//! What hosts get while the upstream has a bad day.

use http::StatusCode;
use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    client::{error, header},
    site::Site,
    wait::eventually,
};

/// A site whose worker has pulled the image, and believes no tag.
async fn cached() -> Site {
    let site = Site::start_with(1, Form::Docker, &["--tag-ttl=0s"]).await;
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
    assert!(warning.starts_with("299 - \""), "{warning}");
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

/// A site whose worker has nothing, and whose upstream fails with `status`.
async fn failing(status: StatusCode) -> Site {
    let site = Site::start(1).await;
    site.upstream.fail_with(Some(status));
    site
}

#[tokio::test]
async fn an_image_that_is_not_cached_is_limited_while_the_upstream_limits() {
    let site = failing(StatusCode::TOO_MANY_REQUESTS).await;

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 429);
    header(&answer, "retry-after");
    assert_eq!(error(answer).await.0, "TOOMANYREQUESTS");
}

#[tokio::test]
async fn an_image_that_is_not_cached_is_unavailable_while_the_upstream_fails() {
    let site = failing(StatusCode::SERVICE_UNAVAILABLE).await;

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 503);
    header(&answer, "retry-after");
    assert_eq!(error(answer).await.0, "UNAVAILABLE");
}

#[tokio::test]
async fn lists_are_unavailable_while_the_upstream_fails() {
    let site = failing(StatusCode::BAD_GATEWAY).await;
    let digest = &site.bench.index.digest;
    let referrers = format!("/v2/{REPOSITORY}/referrers/{digest}");

    for path in [format!("/v2/{REPOSITORY}/tags/list"), referrers] {
        let answer = site.host().get(&path).await;

        assert_eq!(answer.status(), 503, "{path}");
        header(&answer, "retry-after");
        assert_eq!(error(answer).await.0, "UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_silent_upstream_counts_as_one_that_is_gone() {
    let flags = ["--tag-ttl=0s", "--upstream-timeout=500ms"];
    let site = Site::start_with(1, Form::Docker, &flags).await;
    let host = site.host();
    host.digest(REPOSITORY, "latest").await;
    site.upstream.hold(true);

    let cached = host.manifest(REPOSITORY, "latest").await;
    let other = host.manifest(REPOSITORY, "other").await;

    assert_eq!(cached.status(), 200);
    header(&cached, "warning");
    assert_eq!(other.status(), 503);
    header(&other, "retry-after");
}

#[tokio::test]
async fn a_cached_tag_is_served_with_a_warning_while_the_upstream_fails() {
    let site = cached().await;
    let failure = Some(StatusCode::SERVICE_UNAVAILABLE);
    site.upstream.fail_with(failure);

    let answer = site.host().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 200);
    header(&answer, "warning");
}

#[tokio::test]
async fn permission_that_the_upstream_takes_back_is_not_served_from_the_cache() {
    for refusal in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let site = cached().await;
        site.upstream.fail_with(Some(refusal));
        let host = site.host();

        eventually("the cached tag is denied", async || {
            host.manifest(REPOSITORY, "latest").await.status() == 403
        })
        .await;
        let other = host.manifest(REPOSITORY, "other").await;

        assert_eq!(other.status(), 403, "{refusal}");
        assert_eq!(error(other).await.0, "DENIED");
    }
}
