//! Answers that are no manifest: refusals with a reason, and pages.

use super::*;
use crate::upstream::testing::{Answer, INDEX};

#[tokio::test]
async fn a_refusal_is_told_in_the_upstreams_own_words() {
    for status in [400, 402, 406, 412, 422, 451] {
        let bench = Bench::new().await;
        bench.registry.intercept(move |_| {
            let body = r#"{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"3 critical\nvulnerabilities"}]}"#;
            Some(Answer { status, ..Answer::ok(body) })
        });

        let refused = bench.pull("latest").await.unwrap_err();

        let text = refused.to_string();
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
        assert!(text.ends_with(": 3 critical vulnerabilities"), "{text}");
        assert_eq!(bench.gets(), 1, "a refusal is not asked for again");
    }
}

#[tokio::test]
async fn a_refusal_is_not_stale_data() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench.registry.intercept(|_| Some(Answer::status(451)));

    bench.expire();

    let refused = bench.pull("latest").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_denial_is_told_in_the_upstreams_own_words_without_secrets() {
    for (message, expected) in [
        (
            "blocked by Xray",
            "hub denies access, or has no such repository: blocked by Xray",
        ),
        (
            "robot:hunter2 is locked",
            "hub denies access, or has no such repository",
        ),
        (
            "no cm9ib3Q6aHVudGVyMg==",
            "hub denies access, or has no such repository",
        ),
    ] {
        let bench = Bench::with_password(Some("hunter2")).await;
        bench.registry.intercept(move |_| {
            let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}"#);
            let refused = Answer {
                status: 403,
                ..Answer::ok(body)
            };
            Some(refused.with("www-authenticate", "Basic"))
        });

        let denied = bench.pull("latest").await.unwrap_err();

        assert_eq!(denied.to_string(), expected);
    }
}

#[tokio::test]
async fn a_token_servers_reason_is_told_too() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        let is_token = seen.target.starts_with("/token");
        let body = if is_token {
            r#"{"details":"robot is disabled"}"#
        } else {
            ""
        };
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let refused = Answer {
            status: 401,
            ..Answer::ok(body)
        };
        Some(refused.with("www-authenticate", &challenge))
    });

    let denied = bench.pull("latest").await.unwrap_err();

    let text = denied.to_string();
    assert!(text.ends_with(": robot is disabled"), "{text}");
}

const PAGE: &str = "<!DOCTYPE html>\n<html><title>Sign in</title></html>";

#[tokio::test]
async fn a_page_in_place_of_a_manifest_does_not_replace_what_is_cached() {
    for (body, content_type) in [
        (PAGE, "text/html; charset=utf-8"),
        (PAGE, INDEX),
        ("", "application/octet-stream"),
        (r#"{"schemaVersion":2,"manif"#, INDEX),
        (r#"{"error":"quota"}"#, "application/json"),
    ] {
        let bench = Bench::new().await;
        bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
        bench.pull("latest").await.unwrap();
        bench
            .registry
            .intercept(move |_| Some(Answer::ok(body).with("content-type", content_type)));

        bench.expire();
        let pulled = bench.pull("latest").await;

        let pulled = pulled.unwrap_or_else(|error| panic!("{body}: {error:?}"));
        assert_eq!(pulled.bytes, EMPTY_INDEX, "{body}");
        let stale = pulled.stale.as_ref().unwrap();
        assert!(
            matches!(stale.why, Error::NoManifest { .. }),
            "{:?}",
            stale.why
        );
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_manifest_is_named_and_not_remembered() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench
        .registry
        .intercept(|_| Some(Answer::ok(PAGE).with("content-type", "text/html")));

    for reference in ["latest", digest.as_str()] {
        let error = bench.pull(reference).await.unwrap_err();

        assert_eq!(
            error.to_string(),
            "hub sent an HTML page in place of a manifest"
        );
    }
    bench.registry.behave();
    assert!(bench.pull("latest").await.is_ok());
}

#[tokio::test]
async fn a_body_that_is_not_its_announced_digest_does_not_replace_what_is_cached() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", SMALL_IMAGE);
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench.registry.intercept(move |_| {
        let answer = Answer::ok(EMPTY_INDEX).with("content-type", INDEX);
        Some(answer.with("docker-content-digest", digest.as_str()))
    });

    bench.expire();
    let pulled = bench.pull("latest").await.unwrap();

    let why = &pulled.stale.as_ref().unwrap().why;
    assert!(matches!(why, Error::DigestMismatch { .. }), "{why:?}");
}

#[tokio::test]
async fn the_upstreams_warnings_are_kept_with_its_manifest() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.intercept(move |_| {
        let answer = Answer::ok(EMPTY_INDEX).with("content-type", INDEX);
        let answer = answer.with("docker-content-digest", digest.as_str());
        Some(answer.with("warning", r#"299 - "this tag is deprecated""#))
    });

    for _ in 0..2 {
        let pulled = bench.pull("latest").await.unwrap();

        assert_eq!(pulled.warnings[..], [r#"299 - "this tag is deprecated""#]);
        bench.expire();
    }
}
