//! Several clients that want one blob at the same time.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, header};
use http_body_util::BodyExt;

use super::{blobs::large, *};
use crate::upstream::{
    BlobBody, BlobRequest,
    testing::{Answer, Ending},
};

/// A puller that lets clients be `ring` bytes apart.
async fn bench(ring: usize) -> Bench {
    let settings = Settings {
        blob_ring_bytes: ring,
        ..Settings::default()
    };
    Bench::with(settings, None).await
}

async fn open(bench: &Bench, digest: &Digest) -> BlobBody {
    let request = BlobRequest {
        repository: &app(),
        digest,
        method: &Method::GET,
        range: None,
        if_range: None,
        host: None,
    };
    let response = bench.puller.blob(&bench.upstream, request).await;
    response.unwrap().into_body()
}

async fn read(body: BlobBody) -> Result<Bytes, Error> {
    let whole = body.collect().await;
    whole.map(|whole| whole.to_bytes()).map_err(|error| error.0)
}

async fn first_bytes(body: &mut BlobBody) -> Bytes {
    let frame = body.frame().await.unwrap().unwrap();
    frame.into_data().unwrap()
}

#[tokio::test]
async fn a_hundred_clients_share_one_reading() {
    // Less than the blob: it cannot end before all of them are there.
    let bench = bench(2 << 20).await;
    let digest = bench.registry.put_blob("app", large());

    let bodies = join_all((0..100).map(|_| open(&bench, &digest))).await;

    assert_eq!(bench.registry.seen().len(), 1);
    assert_eq!(bench.puller.metrics().blob_joins.get(), 99);
    for pulled in join_all(bodies.into_iter().map(read)).await {
        assert!(pulled.unwrap() == large());
    }
}

#[tokio::test]
async fn clients_that_leave_disturb_none_of_the_others() {
    let bench = bench(2 << 20).await;
    let digest = bench.registry.put_blob("app", large());
    let bodies = (0..10).map(|_| open(&bench, &digest));
    let mut bodies = join_all(bodies).await;
    for body in &mut bodies {
        first_bytes(body).await;
    }

    let stay = bodies.split_off(5);
    drop(bodies);

    for rest in join_all(stay.into_iter().map(read)).await {
        assert!(large().ends_with(&rest.unwrap()));
    }
}

#[tokio::test]
async fn a_client_that_falls_behind_goes_on_with_a_reading_of_its_own() {
    let bench = bench(64 << 10).await;
    let digest = bench.registry.put_blob("app", large());
    let (mut slow, fast) = (open(&bench, &digest).await, open(&bench, &digest).await);
    let begin = first_bytes(&mut slow).await;

    let whole = read(fast).await.unwrap();
    let rest = read(slow).await.unwrap();

    assert!(whole == large());
    assert!([begin, rest].concat() == large());
    let seen = bench.registry.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].header(header::RANGE).starts_with("bytes="));
}

#[tokio::test]
async fn a_client_that_comes_too_late_starts_another_reading() {
    let bench = bench(64 << 10).await;
    let digest = bench.registry.put_blob("app", large());
    let mut early = open(&bench, &digest).await;
    let mut taken = 0;
    while taken < 2_000_000 {
        taken += first_bytes(&mut early).await.len();
    }

    let late = read(open(&bench, &digest).await).await;

    assert!(late.unwrap() == large());
    assert!(read(early).await.is_ok());
    assert_eq!(bench.registry.seen().len(), 2);
}

#[tokio::test]
async fn a_wrong_blob_is_an_error_for_everybody() {
    let bench = bench(16 << 20).await;
    let digest = bench.registry.put_blob("app", large());
    bench
        .registry
        .intercept(|_| Some(Answer::ok(vec![0; 3_000_000])));

    let bodies = join_all((0..5).map(|_| open(&bench, &digest))).await;

    for pulled in join_all(bodies.into_iter().map(read)).await {
        assert!(
            matches!(pulled, Err(Error::DigestMismatch { .. })),
            "{pulled:?}"
        );
    }
}

#[tokio::test]
async fn the_upstream_is_left_when_the_last_client_has_gone() {
    let bench = bench(16 << 20).await;
    let digest = bench.registry.put_blob("app", large());
    bench.registry.intercept(|_| {
        let answer = Answer::ok("x").with("content-length", "9");
        Some(answer.ending(Ending::Stall))
    });
    let bodies = (open(&bench, &digest).await, open(&bench, &digest).await);

    drop(bodies);

    let left = bench.registry.connections_closed(1);
    tokio::time::timeout(Duration::from_secs(5), left)
        .await
        .expect("the connection to the upstream is closed");
}

#[tokio::test]
async fn two_credentials_never_share_a_reading() {
    let bench = bench(16 << 20).await;
    let digest = bench.registry.put_blob("app", large());
    let other = upstream(&bench.registry, Some("hunter2"));
    let request = BlobRequest {
        repository: &app(),
        digest: &digest,
        method: &Method::GET,
        range: None,
        if_range: None,
        host: None,
    };

    let mine = bench.puller.blob(&bench.upstream, request).await.unwrap();
    let theirs = bench.puller.blob(&other, request).await.unwrap();

    assert_eq!(bench.registry.seen().len(), 2);
    assert!(read(mine.into_body()).await.is_ok());
    assert!(read(theirs.into_body()).await.is_ok());
}
