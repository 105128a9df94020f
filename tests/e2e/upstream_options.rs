//! What an admin says about an upstream, from the admin API to the host.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use metahub_cli::demo::image::REPOSITORY;
use metahub_proto::policy::v1::{Blobs, Upstream};
use metahub_tests::{client::header, site::Site, tls_front::TlsFront, wait::eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// Where the upstream keeps its blobs: another host, which nobody serves.
const STORE: &str = "http://127.0.0.2:9/blob?signature=abc";

/// An upstream that redirects whatever it is asked for.
async fn redirecting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {STORE}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            // A worker that has gone away needs none.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn site() -> Site {
    let mut site = Site::start(1).await;
    let upstream = Upstream {
        name: "store.test".into(),
        url: format!("http://{}", redirecting().await),
        blobs: Blobs::Redirect.into(),
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    site
}

#[tokio::test]
async fn a_host_is_sent_to_where_the_upstream_keeps_its_blobs() {
    let site = site().await;

    let path = format!("/v2/store.test/org/app/blobs/sha256:{}", "0".repeat(64));
    let answer = site.host().get(&path).await;

    assert_eq!(answer.status(), 307);
    assert_eq!(header(&answer, "location"), STORE);
    assert_eq!(header(&answer, "cache-control"), "no-store");
}

/// A site with an upstream that is the default one's registry, as `change` has
/// it, beside that.
async fn site_with(change: impl FnOnce(&Site) -> Upstream) -> Site {
    let mut site = Site::start(1).await;
    let upstream = change(&site);
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    site
}

#[tokio::test]
async fn an_upstream_is_reached_through_the_proxy_that_is_said() {
    // The registry takes absolute URLs, as a proxy does.
    let site = site_with(|site| Upstream {
        name: "far.test".into(),
        url: "http://registry.far.example".into(),
        proxy: site.upstream.url(),
        ..Default::default()
    })
    .await;

    let pulled = site
        .host()
        .digest(&format!("far.test/{REPOSITORY}"), "latest")
        .await;

    assert!(site.bench.image(&pulled).is_some());
}

#[tokio::test]
async fn an_upstream_with_a_prefix_is_named_without_it() {
    let (owner, app) = REPOSITORY.split_once('/').expect("it is of two parts");
    let site = site_with(|site| Upstream {
        name: "hub.test".into(),
        url: site.upstream.url(),
        repository_prefix: owner.into(),
        ..Default::default()
    })
    .await;

    let name = format!("hub.test/{app}");
    let pulled = site.host().digest(&name, "latest").await;
    let tags = site.host().get(&format!("/v2/{name}/tags/list")).await;

    assert!(site.bench.image(&pulled).is_some());
    let tags: serde_json::Value = serde_json::from_slice(&tags.bytes().await.unwrap()).unwrap();
    assert_eq!(tags["name"], name);
    assert_eq!(tags["tags"], serde_json::json!(["latest"]));
}

#[tokio::test]
async fn an_upstream_is_asked_at_its_further_address_when_the_first_is_down() {
    let site = site_with(|site| Upstream {
        name: "twice.test".into(),
        url: "http://127.0.0.1:1".into(),
        fallback_urls: vec![site.upstream.url()],
        ..Default::default()
    })
    .await;

    let pulled = site
        .host()
        .digest(&format!("twice.test/{REPOSITORY}"), "latest")
        .await;

    assert!(site.bench.image(&pulled).is_some());
}

#[tokio::test]
async fn an_upstream_may_be_named_by_an_ipv6_address() {
    let site = site_with(|site| Upstream {
        name: "[2001:db8::1]:5000".into(),
        url: site.upstream.url(),
        ..Default::default()
    })
    .await;

    for path in [
        format!("/v2/{REPOSITORY}/manifests/latest?ns=%5B2001:DB8::1%5D:5000"),
        format!("/v2/%5B2001:db8::1%5D:5000/{REPOSITORY}/manifests/latest"),
    ] {
        let answer = site.host().get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
}

const PULLS: usize = 4;
const EMPTY_IMAGE: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// A site with another way to its upstream, which offers two protocols.
async fn fronted(http1: bool) -> (Site, TlsFront) {
    let mut site = Site::start(1).await;
    let front = TlsFront::with_http2_before(site.upstream.address()).await;
    let upstream = Upstream {
        name: "front.test".into(),
        url: front.url(),
        ca_pem: front.ca_pem(),
        http1,
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    (site, front)
}

/// The protocols of all connections to an upstream that offers two, after one
/// pull and then some that it answers all at the same time.
async fn spoken(http1: bool) -> Vec<String> {
    let (site, front) = fronted(http1).await;
    let image = "application/vnd.oci.image.manifest.v1+json";
    let digest = site.upstream.put_manifest("app", image, EMPTY_IMAGE);
    for n in 0..=PULLS {
        let tag = format!("t{n}");
        site.upstream.tag("app", &tag, Some(&digest));
    }
    site.host().digest("front.test/app", "t0").await;
    site.upstream.forget_requests();
    site.upstream.hold(true);

    let mut pulls = JoinSet::new();
    for n in 1..=PULLS {
        let host = site.host();
        pulls.spawn(async move { host.digest("front.test/app", &format!("t{n}")).await });
    }
    eventually("all are asked for", async || {
        site.upstream.requests().len() == PULLS
    })
    .await;
    site.upstream.hold(false);

    assert_eq!(pulls.join_all().await, vec![digest; PULLS]);
    front.spoken()
}

#[tokio::test]
async fn requests_to_an_upstream_share_one_connection_of_http2() {
    assert_eq!(spoken(false).await, ["h2"]);
}

#[tokio::test]
async fn an_upstream_that_is_said_to_speak_http1_gets_a_connection_for_each_request() {
    assert_eq!(spoken(true).await, ["http/1.1"; PULLS]);
}

#[tokio::test]
async fn a_connection_for_blobs_is_used_for_the_next_blob() {
    let (site, front) = fronted(false).await;
    let host = site.host();
    let blobs = AtomicUsize::new(0);

    // Not at once: a connection is given back a moment after the last byte.
    eventually("a connection is used again", async || {
        let blob = format!("blob {}", blobs.fetch_add(1, Relaxed));
        let digest = site.upstream.put_blob("app", blob.clone());
        let before = front.spoken().len();
        let answer = host
            .get(&format!("/v2/front.test/app/blobs/{digest}"))
            .await;
        assert_eq!(answer.text().await.unwrap(), blob);
        front.spoken().len() == before
    })
    .await;
}
