//! Upstreams that mean harm, or have been taken over.

use bytes::Bytes;
use http::{Method, header};
use http_body_util::BodyExt;

use super::*;
use crate::upstream::{
    BlobRequest, ManifestFault,
    testing::{Answer, INDEX},
};

async fn blob(bench: &Bench, digest: &Digest) -> Result<Bytes, Error> {
    let request = BlobRequest {
        repository: &app(),
        digest,
        method: &Method::GET,
        range: None,
        if_range: None,
        host: None,
    };
    let response = bench.puller.blob(&bench.upstream, request).await?;
    let body = response.into_body().collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| error.0)
}

/// Whether anything that the registry was sent looks like a secret.
fn has_seen_secrets(registry: &Registry) -> bool {
    registry.seen().iter().any(|seen| {
        format!("{seen:?}").contains("hunter2") || seen.headers.contains_key(header::AUTHORIZATION)
    })
}

#[tokio::test]
async fn a_token_server_of_another_party_never_sees_the_credential() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let evil = Registry::start_at("127.0.0.2").await;
    let realm = evil.url().join("/token").unwrap();
    bench.registry.intercept(move |_| {
        let challenge = format!(r#"Bearer realm="{realm}",service="r""#);
        Some(Answer::status(401).with("www-authenticate", &challenge))
    });

    let refused = bench.pull("latest").await;

    assert!(
        matches!(refused, Err(Error::Untrusted { .. })),
        "{refused:?}"
    );
    assert!(evil.seen().is_empty());
}

#[tokio::test]
async fn a_token_server_that_redirects_to_another_party_is_not_followed() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let evil = Registry::start_at("127.0.0.2").await;
    let (realm, target) = (bench.registry.url().join("/token").unwrap(), evil.url());
    bench.registry.intercept(move |seen| {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        Some(if seen.target.starts_with("/token") {
            Answer::status(307).with("location", target.as_str())
        } else {
            Answer::status(401).with("www-authenticate", &challenge)
        })
    });

    let refused = bench.pull("latest").await;

    assert!(
        matches!(refused, Err(Error::Untrusted { .. })),
        "{refused:?}"
    );
    assert!(evil.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_followed_without_the_credential() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let store = Registry::start().await;
    let digest = store.put_blob("store", "abc");
    let target = store
        .url()
        .join(&format!("/v2/store/blobs/{digest}"))
        .unwrap();
    bench.registry.intercept(move |seen| {
        let challenge = Answer::status(401).with("www-authenticate", r#"Basic realm="r""#);
        Some(if seen.header(header::AUTHORIZATION).is_empty() {
            challenge
        } else {
            Answer::status(307).with("location", target.as_str())
        })
    });

    let bytes = blob(&bench, &digest).await.unwrap();

    assert_eq!(bytes, "abc");
    assert_eq!(store.seen().len(), 1);
    assert!(!has_seen_secrets(&store));
}

#[tokio::test]
async fn a_redirect_that_leads_back_does_not_get_the_credential_again() {
    let bench = Bench::with_password(Some("hunter2")).await;
    let evil = Registry::start().await;
    let digest = bench.registry.put_blob("app", "abc");
    let home = bench.registry.url().join("/back").unwrap();
    evil.intercept(move |_| Some(Answer::status(302).with("location", home.as_str())));
    let away = evil.url();
    bench.registry.intercept(move |seen| {
        Some(match seen.header(header::AUTHORIZATION) {
            _ if seen.target == "/back" => Answer::ok("abc"),
            "" => Answer::status(401).with("www-authenticate", r#"Basic realm="r""#),
            _ => Answer::status(302).with("location", away.as_str()),
        })
    });

    blob(&bench, &digest).await.unwrap();

    let last = bench.registry.seen().pop().unwrap();
    assert_eq!(last.target, "/back");
    assert_eq!(last.header(header::AUTHORIZATION), "");
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_refused() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "abc");
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1/",
    ] {
        bench
            .registry
            .intercept(move |_| Some(Answer::status(307).with("location", target)));

        let refused = blob(&bench, &digest).await;

        assert!(
            matches!(refused, Err(Error::Untrusted { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "abc");
    bench
        .registry
        .intercept(|_| Some(Answer::status(307).with("location", "/again")));

    let refused = blob(&bench, &digest).await;

    assert!(
        matches!(refused, Err(Error::BadAnswer { .. })),
        "{refused:?}"
    );
    assert_eq!(bench.registry.seen().len(), 6);
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused_and_not_kept() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench
        .registry
        .intercept(|_| Some(Answer::ok(SMALL_IMAGE).with("content-type", INDEX)));

    let refused = bench.pull(digest.as_str()).await;

    assert!(
        matches!(refused, Err(Error::DigestMismatch { .. })),
        "{refused:?}"
    );
    bench.registry.behave();
    assert!(bench.pull(digest.as_str()).await.is_ok());
}

#[tokio::test]
async fn a_tag_whose_announced_digest_is_wrong_is_refused() {
    let bench = Bench::new().await;
    let wrong = format!("sha256:{}", "0".repeat(64));
    bench
        .registry
        .intercept(move |_| Some(Answer::ok(EMPTY_INDEX).with("docker-content-digest", &wrong)));

    let refused = bench.pull("latest").await;

    assert!(
        matches!(refused, Err(Error::DigestMismatch { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_manifest_beyond_the_limit_is_refused_announced_or_not() {
    let bench = Bench::new().await;
    let large = Bytes::from(vec![b' '; (4 << 20) + 1]);
    for header in ["content-length", "transfer-encoding"] {
        let (large, length) = (large.clone(), large.len().to_string());
        bench.registry.intercept(move |_| {
            let value = if header == "content-length" {
                &length
            } else {
                "chunked"
            };
            Some(Answer::ok(large.clone()).with(header, value))
        });

        let refused = bench.pull("latest").await;

        assert!(
            matches!(refused, Err(Error::TooLarge { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn an_ambiguous_manifest_is_refused() {
    let bench = Bench::new().await;
    bench.registry.intercept(|_| {
        Some(Answer::ok(r#"{"manifests":[],"layers":[]}"#).with("content-type", INDEX))
    });

    let refused = bench.pull("latest").await;

    let fault = ManifestFault::Ambiguous;
    let upstream = "hub".into();
    assert_eq!(refused.unwrap_err(), Error::BadManifest { upstream, fault });
}
