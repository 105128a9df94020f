//! Upstreams whose `HEAD` says something else than their `GET`.

use http::Method;

use super::*;
use crate::upstream::{
    BlobRequest,
    testing::{Answer, Ending, INDEX},
};

/// A bench with the tag `latest` in memory, and an upstream that answers every
/// `HEAD` with `status` from then on.
async fn with_a_head_that_says(status: u16) -> Bench {
    let bench = Bench::patient().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench
        .registry
        .intercept(move |seen| (seen.method == Method::HEAD).then(|| Answer::status(status)));
    bench.expire();
    bench
}

#[tokio::test]
async fn a_head_that_denies_a_tag_is_settled_by_a_get() {
    for status in [400, 401, 403, 404, 405, 410, 500, 501, 503] {
        let bench = with_a_head_that_says(status).await;
        let pushed = bench.registry.put_manifest("app", "latest", SMALL_IMAGE);

        let pulled = bench.pull("latest").await;

        let pulled = pulled.unwrap_or_else(|error| panic!("{status}: {error:?}"));
        assert_eq!(pulled.digest, pushed, "{status}");
        assert!(pulled.stale.is_none(), "{status}");
    }
}

#[tokio::test]
async fn a_head_that_is_redirected_to_a_refusal_is_settled_by_a_get() {
    let bench = with_a_head_that_says(404).await;
    let target = Registry::start_at("127.0.0.2").await;
    target.intercept(|_| Some(Answer::status(403)));
    let location = target.url();
    bench.registry.intercept(move |seen| {
        let redirect = Answer::status(307).with("location", location.as_str());
        (seen.method == Method::HEAD).then_some(redirect)
    });

    let pulled = bench.pull("latest").await.unwrap();

    assert!(pulled.stale.is_none(), "{:?}", pulled.stale);
    assert_eq!(bench.gets(), 2);
}

#[tokio::test]
async fn a_head_of_a_connection_that_breaks_is_settled_by_a_get() {
    let bench = with_a_head_that_says(404).await;
    bench.registry.intercept(|seen| {
        let stalled = Answer::ok("x")
            .with("content-length", "x")
            .ending(Ending::Cut);
        (seen.method == Method::HEAD).then_some(stalled)
    });

    let pulled = bench.pull("latest").await.unwrap();

    assert!(pulled.stale.is_none(), "{:?}", pulled.stale);
}

#[tokio::test]
async fn an_unreliable_head_is_not_asked_for_again_for_a_while() {
    let bench = with_a_head_that_says(404).await;

    for _ in 0..3 {
        bench.pull("latest").await.unwrap();
        bench.expire();
    }

    assert_eq!((bench.gets(), bench.heads()), (4, 1));
    bench.clock.advance(Duration::from_secs(3600));
    bench.pull("latest").await.unwrap();
    assert_eq!(bench.heads(), 2);
}

#[tokio::test]
async fn a_head_that_agrees_with_the_get_stays_in_use() {
    let bench = with_a_head_that_says(404).await;
    bench.registry.intercept(|_| Some(Answer::status(404)));
    let gone = bench.pull("latest").await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    bench.registry.behave();
    bench.clock.advance(Duration::from_secs(6));
    bench.pull("latest").await.unwrap();

    bench.expire();
    bench.pull("latest").await.unwrap();

    assert_eq!(bench.heads(), 2);
}

#[tokio::test]
async fn a_get_in_place_of_a_head_says_what_is_known_by_its_etag() {
    let bench = Bench::patient().await;
    bench.registry.intercept(|seen| {
        let is_known = seen.header(http::header::IF_NONE_MATCH) == "\"{SHA1{abc}}\"";
        Some(match seen.method.as_str() {
            "HEAD" => Answer::status(404),
            _ if is_known => Answer::status(304),
            _ => Answer::ok(EMPTY_INDEX)
                .with("content-type", INDEX)
                .with("etag", "\"{SHA1{abc}}\""),
        })
    });
    let first = bench.pull("latest").await.unwrap();

    bench.expire();
    let again = bench.pull("latest").await.unwrap();

    assert_eq!(again.digest, first.digest);
    assert!(again.stale.is_none());
    let seen = bench.registry.seen();
    let last = seen.last().unwrap();
    assert_eq!(last.header(http::header::IF_NONE_MATCH), "\"{SHA1{abc}}\"");
}

#[tokio::test]
async fn a_head_that_denies_a_blob_is_settled_by_a_get_of_its_first_byte() {
    for status in [401, 403, 404, 405, 500] {
        for content in ["abc", ""] {
            let bench = with_a_head_that_says(status).await;
            let digest = bench.registry.put_blob("app", content);
            let request = BlobRequest {
                repository: &app(),
                digest: &digest,
                method: &Method::HEAD,
                range: None,
                if_range: None,
                host: None,
            };

            for _ in 0..2 {
                let response = bench.puller.blob(&bench.upstream, request).await.unwrap();

                assert_eq!(response.status(), 200, "{status}");
                let length = &response.headers()[http::header::CONTENT_LENGTH];
                assert_eq!(length, &content.len().to_string(), "{status}");
            }
            let heads = bench.registry.count("HEAD /v2/app/blobs/");
            assert_eq!(heads, 1, "{status}: HEAD is not used a second time");
        }
    }
}
