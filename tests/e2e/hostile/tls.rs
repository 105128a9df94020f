//! Upstreams that speak TLS, and mean harm all the same.

use metahub_cli::demo::digest::sha256;
use metahub_tests::{
    hostile::{HostileHost, Said},
    tls_front::TlsFront,
};

use super::*;

/// A siege of an upstream behind `front`, whose certificate is good.
async fn behind(front: &TlsFront, upstream: HostileHost) -> Siege {
    let mut siege = Siege::with(upstream, &front.url(), PATIENT).await;
    let account = Upstream {
        ca_pem: front.ca_pem(),
        ..Siege::account(&front.url())
    };
    siege.site.admin.put_upstream(account).await;
    siege.site.admin.all_current(1).await;
    siege
}

async fn siege() -> (Siege, TlsFront) {
    let upstream = HostileHost::start(1).await;
    let front = TlsFront::before(upstream.address()).await;
    (behind(&front, upstream).await, front)
}

/// The same, for one that cuts the wire at the end of each answer.
async fn cut() -> (Siege, TlsFront) {
    let upstream = HostileHost::start(1).await;
    let front = TlsFront::cutting_before(upstream.address()).await;
    (behind(&front, upstream).await, front)
}

#[tokio::test]
async fn https_never_falls_to_http() {
    let (siege, _front) = siege().await;
    let plain = HostileHost::start(1).await;
    let target = plain.url();
    let layer = sha256(b"layer");
    siege.upstream.says(move |_| Said::redirect(&target));

    siege.pull_fails(502, "UNKNOWN").await;
    assert_eq!(siege.blob(&layer).await.status(), 502);
    let tags = siege.site.host().get(&format!("/v2/{APP}/tags/list")).await;
    assert_eq!(tags.status(), 502);

    assert_eq!(plain.received(), "");
}

#[tokio::test]
async fn a_token_is_not_fetched_by_http_for_an_upstream_that_speaks_https() {
    let (siege, _front) = siege().await;
    let plain = HostileHost::start(1).await;
    let challenge = format!(r#"Bearer realm="{}/token""#, plain.url());
    siege.upstream.says(move |_| Said::challenge(&challenge));

    siege.pull_fails(502, "UNKNOWN").await;

    assert_eq!(plain.received(), "");
    assert_saw_no_secret(&siege.upstream);
}

#[tokio::test]
async fn a_manifest_without_length_that_tls_cuts_off_is_never_served() {
    let (siege, _front) = cut().await;
    let headers = [("Content-Type", INDEX)];
    // Good JSON as far as it goes: nothing but TLS says that more was to come.
    siege
        .upstream
        .says(move |_| Said::headed("200 OK", &headers).and(r#"{"manifests":[]}"#));

    siege.pull_fails(503, "UNAVAILABLE").await;
}

#[tokio::test]
async fn a_blob_without_length_that_tls_cuts_off_breaks_the_connection() {
    let (siege, _front) = cut().await;
    let blob = b"layer".repeat(1 << 16);
    let half = blob[..blob.len() / 2].to_vec();
    siege
        .upstream
        .says(move |_| Said::headed("200 OK", &[]).and(&half));

    let answer = siege.blob(&sha256(&blob)).await;

    assert!(answer.status() != 200 || answer.bytes().await.is_err());
    siege.still_serves().await;
}

#[tokio::test]
async fn a_blob_with_a_length_is_whole_whatever_tls_says_at_its_end() {
    let (siege, _front) = cut().await;
    siege
        .upstream
        .says(|_| Said::ok("application/octet-stream", "layer"));

    let answer = siege.blob(&sha256(b"layer")).await;

    assert_eq!(answer.bytes().await.unwrap(), "layer");
}
