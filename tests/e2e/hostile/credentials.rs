//! Where an upstream points to, and that no credential follows.

use metahub_cli::demo::digest::sha256;
use metahub_tests::hostile::{HostileHost, Said};

use super::*;

/// A second host, which must not see what belongs to the first.
async fn stranger() -> HostileHost {
    HostileHost::start(2).await
}

/// Challenges with Basic, and says `said` to whoever shows the account.
fn guarded(said: impl Fn() -> Said + Send + Sync + 'static) -> impl Fn(&str) -> Said {
    move |request| match request.contains(BASIC) {
        true => said(),
        false => Said::challenge(r#"Basic realm="r""#),
    }
}

#[tokio::test]
async fn a_realm_on_another_host_is_not_asked() {
    let (siege, stranger) = (Siege::start().await, stranger().await);
    let challenge = format!(r#"Bearer realm="{}/token""#, stranger.url());
    siege.upstream.says(move |_| Said::challenge(&challenge));

    siege.pull_fails(502, "UNKNOWN").await;

    assert_eq!(stranger.received(), "");
    assert_saw_no_secret(&siege.upstream);
}

#[tokio::test]
async fn a_realm_at_an_address_of_the_site_or_the_link_is_not_asked() {
    let siege = Siege::start().await;
    for host in ["10.255.255.1", "169.254.169.254", "[fe80::1]", "localhost"] {
        let challenge = format!(r#"Bearer realm="http://{host}/token""#);
        siege.upstream.says(move |_| Said::challenge(&challenge));

        siege.pull_fails(502, "UNKNOWN").await;
    }
    assert_saw_no_secret(&siege.upstream);
}

#[tokio::test]
async fn a_realm_that_redirects_to_another_host_is_not_followed() {
    let (siege, stranger) = (Siege::start().await, stranger().await);
    let challenge = format!(r#"Bearer realm="{}/token""#, siege.upstream.url());
    let target = stranger.url();
    siege.upstream.says(move |request| {
        match request.split(' ').nth(1).unwrap().starts_with("/token") {
            true => Said::redirect(&target),
            false => Said::challenge(&challenge),
        }
    });

    siege.pull_fails(502, "UNKNOWN").await;

    assert_eq!(stranger.received(), "");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_the_account() {
    let (siege, stranger) = (Siege::start().await, stranger().await);
    let digest = sha256(b"layer");
    stranger.says(|_| Said::ok("application/octet-stream", "layer"));
    let target = format!("{}/layer", stranger.url());
    siege
        .upstream
        .says(guarded(move || Said::redirect(&target)));

    let layer = siege.blob(&digest).await;

    assert_eq!(layer.bytes().await.unwrap(), "layer");
    assert!(stranger.received().starts_with("GET /layer "));
    assert_saw_no_secret(&stranger);
    siege.still_serves().await;
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_the_token() {
    let (siege, stranger) = (Siege::start().await, stranger().await);
    let digest = sha256(b"layer");
    stranger.says(|_| Said::ok("application/octet-stream", "layer"));
    let target = format!("{}/layer", stranger.url());
    let challenge = format!(r#"Bearer realm="{}/token""#, siege.upstream.url());
    siege.upstream.says(move |request| {
        let target_path = request.split(' ').nth(1).unwrap();
        if target_path.starts_with("/token") {
            Said::ok("application/json", format!(r#"{{"token":"{TOKEN}"}}"#))
        } else if request.contains(TOKEN) {
            Said::redirect(&target)
        } else {
            Said::challenge(&challenge)
        }
    });

    let layer = siege.blob(&digest).await;

    assert_eq!(layer.bytes().await.unwrap(), "layer");
    assert!(siege.upstream.received().contains(TOKEN));
    assert_saw_no_secret(&stranger);
}

#[tokio::test]
async fn a_redirect_to_the_link_or_another_scheme_is_refused() {
    let siege = Siege::start().await;
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/layer",
        "file:///etc/passwd",
    ] {
        siege.upstream.says(guarded(move || Said::redirect(target)));

        siege.pull_fails(502, "UNKNOWN").await;
        let blob = siege.blob(&sha256(b"layer")).await;
        assert_eq!(blob.status(), 502, "{target}");
    }
}

#[tokio::test]
async fn a_redirect_with_an_account_of_its_own_is_refused() {
    let (siege, stranger) = (Siege::start().await, stranger().await);
    let target = format!("http://user:secret@{}/", stranger.address());
    siege
        .upstream
        .says(guarded(move || Said::redirect(&target)));

    siege.pull_fails(502, "UNKNOWN").await;

    assert_eq!(stranger.received(), "");
}

#[tokio::test]
async fn tls_that_breaks_off_carries_no_account() {
    let upstream = HostileHost::start(1).await;
    upstream.says(|_| Said::bytes([0x16, 3, 3, 0, 200, 2, 0]));
    let url = format!("https://{}", upstream.address());
    let siege = Siege::with(upstream, &url, PATIENT).await;

    siege.pull_fails(503, "UNAVAILABLE").await;

    assert_saw_no_secret(&siege.upstream);
    assert_ne!(siege.upstream.received(), "");
}
