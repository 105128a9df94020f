//! Blobs that clients fetch from where the upstream redirects to.

use futures_util::future::join_all;
use http::{Method, Response, header};
use http_body_util::BodyExt;

use super::{blobs::large, *};
use crate::upstream::{BlobBody, BlobRequest, testing::Answer};

/// A bench whose registry redirects each blob to `target`, which clients are
/// to follow.
async fn bench(target: &str) -> Bench {
    let mut bench = Bench::new().await;
    let upstream = (*bench.upstream).clone().handing_over_blobs(true);
    bench.upstream = Arc::new(upstream);
    let target = target.to_owned();
    bench
        .registry
        .intercept(move |_| Some(Answer::status(307).with("location", &target)));
    bench
}

/// The answer to a client that knows the worker as `host`.
async fn ask(bench: &Bench, method: Method, host: &str) -> Result<Response<BlobBody>, Error> {
    let digest = digest_of(&format!("sha256:{}", "0".repeat(64)));
    ask_for(bench, &digest, method, host).await
}

async fn ask_for(
    bench: &Bench,
    digest: &Digest,
    method: Method,
    host: &str,
) -> Result<Response<BlobBody>, Error> {
    let request = BlobRequest {
        repository: &app(),
        digest,
        method: &method,
        range: None,
        if_range: None,
        host: Some(host),
    };
    bench.puller.blob(&bench.upstream, request).await
}

#[tokio::test]
async fn a_redirect_to_another_host_is_handed_to_the_client() {
    let signed = "http://127.0.0.2:9/blob?signature=abc";
    let bench = bench(signed).await;

    let answer = ask(&bench, Method::GET, "hub.example").await.unwrap();

    assert_eq!(answer.status(), 307);
    assert_eq!(answer.headers()[header::LOCATION], signed);
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers()[header::CONTENT_LENGTH], "0");
}

#[tokio::test]
async fn each_client_gets_a_redirect_of_its_own() {
    let bench = bench("http://127.0.0.2:9/blob").await;

    for _ in 0..2 {
        ask(&bench, Method::GET, "hub.example").await.unwrap();
    }

    assert_eq!(bench.registry.count("GET /v2/app/blobs/"), 2);
}

#[tokio::test]
async fn an_upstream_that_sends_a_blob_itself_sends_it_once() {
    let bench = bench("http://127.0.0.2:9/blob").await;
    bench.registry.intercept(|_| None);
    let digest = bench.registry.put_blob("app", large());
    let pull = async |host: &'static str| {
        let answer = ask_for(&bench, &digest, Method::GET, host).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap().to_bytes()
    };

    let pulled = join_all((0..10).map(|_| pull("hub.example"))).await;

    assert!(pulled.iter().all(|bytes| *bytes == large()));
    assert_eq!(bench.registry.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_the_workers_or_the_upstreams_own_host_is_followed() {
    let store = Registry::start_at("127.0.0.2").await;
    let bench = bench(store.url().as_str()).await;
    let to_worker = ask(&bench, Method::GET, "127.0.0.2").await;
    assert!(matches!(to_worker, Err(Error::NotFound { .. })));
    assert_eq!(store.seen().len(), 1);

    let home = bench.registry.url().join("/elsewhere").unwrap();
    bench.registry.intercept(move |seen| {
        let redirect = Answer::status(307).with("location", home.as_str());
        (seen.target != "/elsewhere").then_some(redirect)
    });
    let to_upstream = ask(&bench, Method::GET, "hub.example").await;
    assert!(matches!(to_upstream, Err(Error::NotFound { .. })));
    assert_eq!(bench.registry.count("GET /elsewhere"), 1);
}

#[tokio::test]
async fn a_client_is_not_sent_closer_than_the_upstream_is() {
    let bench = bench("http://169.254.169.254/latest/meta-data").await;

    let refused = ask(&bench, Method::GET, "hub.example").await;

    assert!(matches!(refused, Err(Error::Untrusted { .. })));
}

#[tokio::test]
async fn a_head_is_answered_by_the_worker() {
    let store = Registry::start_at("127.0.0.2").await;
    let bench = bench(store.url().as_str()).await;

    let answer = ask(&bench, Method::HEAD, "hub.example").await;

    assert!(matches!(answer, Err(Error::NotFound { .. })));
    assert_eq!(store.count("HEAD "), 1);
}

#[tokio::test]
async fn without_that_wish_the_worker_follows() {
    let store = Registry::start_at("127.0.0.2").await;
    let mut bench = bench(store.url().as_str()).await;
    let upstream = (*bench.upstream).clone().handing_over_blobs(false);
    bench.upstream = Arc::new(upstream);

    let answer = ask(&bench, Method::GET, "hub.example").await;

    assert!(matches!(answer, Err(Error::NotFound { .. })));
    assert_eq!(store.seen().len(), 1);
}
