//! Blobs, whole and in parts, from upstreams good and bad.

use std::sync::{
    LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt;

use super::*;
use crate::upstream::{
    BlobBody, BlobRequest,
    testing::{Answer, Ending, part},
};

/// Three megabytes that differ everywhere.
pub(super) fn large() -> Bytes {
    static LARGE: LazyLock<Bytes> = LazyLock::new(|| {
        let words = (0..750_000_u32).flat_map(u32::to_be_bytes);
        words.collect::<Vec<_>>().into()
    });
    LARGE.clone()
}

struct Asked<'a> {
    method: Method,
    range: Option<&'a str>,
    if_range: Option<&'a str>,
}

const WHOLE: Asked<'static> = Asked {
    method: Method::GET,
    range: None,
    if_range: None,
};

async fn open(
    bench: &Bench,
    digest: &Digest,
    asked: Asked<'_>,
) -> Result<Response<BlobBody>, Error> {
    let value = |text: &str| HeaderValue::from_str(text).unwrap();
    let (range, if_range) = (asked.range.map(value), asked.if_range.map(value));
    let request = BlobRequest {
        repository: &app(),
        digest,
        method: &asked.method,
        range: range.as_ref(),
        if_range: if_range.as_ref(),
        host: None,
    };
    bench.puller.blob(&bench.upstream, request).await
}

/// The body's bytes and the error that it ended with.
async fn read(response: Response<BlobBody>) -> (Vec<u8>, Option<Error>) {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => return (bytes, Some(error.0)),
        }
    }
    (bytes, None)
}

/// Breaks the first `times` answers to a blob's GET off after `length` bytes
/// of body.
fn break_off(bench: &Bench, blob: &Bytes, length: usize, times: usize, ending: Ending) {
    let (blob, broken) = (blob.clone(), AtomicUsize::new(0));
    bench.registry.intercept(move |seen| {
        if broken.fetch_add(1, Ordering::Relaxed) >= times {
            return None;
        }
        let mut answer = part(&blob, seen.header(header::RANGE));
        let announced = answer.body.len().to_string();
        answer.body.truncate(length);
        Some(answer.with("content-length", &announced).ending(ending))
    });
}

#[tokio::test]
async fn a_blob_comes_whole_with_the_headers_that_clients_need() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());

    let response = open(&bench, &digest, WHOLE).await.unwrap();

    let headers = response.headers();
    assert_eq!(response.status(), 200);
    assert_eq!(headers[header::CONTENT_LENGTH], "3000000");
    assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
    assert_eq!(headers[header::ETAG], format!("\"{digest}\""));
    assert_eq!(headers["docker-content-digest"], digest.as_str());
    let (bytes, error) = read(response).await;
    assert!(bytes == large() && error.is_none(), "{error:?}");
    let seen = bench.registry.seen();
    assert_eq!(seen[0].header(header::ACCEPT_ENCODING), "identity");
}

#[tokio::test]
async fn head_tells_the_length_without_a_body() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    let head = Asked {
        method: Method::HEAD,
        ..WHOLE
    };

    let response = open(&bench, &digest, head).await.unwrap();

    assert_eq!(response.headers()[header::CONTENT_LENGTH], "3000000");
    assert_eq!(read(response).await, (Vec::new(), None));
    assert_eq!(bench.registry.count("GET"), 0);
}

#[tokio::test]
async fn head_works_where_the_upstream_only_knows_get() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "abc");
    bench
        .registry
        .intercept(|seen| (seen.method == "HEAD").then(|| Answer::status(405)));
    let head = Asked {
        method: Method::HEAD,
        ..WHOLE
    };

    let response = open(&bench, &digest, head).await.unwrap();

    assert_eq!(response.headers()[header::CONTENT_LENGTH], "3");
    assert_eq!(read(response).await, (Vec::new(), None));
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "");

    let response = open(&bench, &digest, WHOLE).await.unwrap();

    assert_eq!(read(response).await, (Vec::new(), None));
}

#[tokio::test]
async fn a_range_is_forwarded_and_its_part_passed_on() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    let asked = Asked {
        range: Some("bytes=2-5"),
        ..WHOLE
    };

    let response = open(&bench, &digest, asked).await.unwrap();

    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes 2-5/10");
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "4");
    assert_eq!(read(response).await, (b"2345".to_vec(), None));
}

#[tokio::test]
async fn a_range_beyond_the_end_is_416() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    let asked = Asked {
        range: Some("bytes=10-"),
        ..WHOLE
    };

    let response = open(&bench, &digest, asked).await.unwrap();

    assert_eq!(response.status(), 416);
    assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes */10");
    assert_eq!(read(response).await, (Vec::new(), None));
}

#[tokio::test]
async fn a_range_that_is_bound_to_other_content_gets_the_whole_blob() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    let current = format!("\"{digest}\"");

    for (if_range, status) in [(current.as_str(), 206), ("\"other\"", 200)] {
        let asked = Asked {
            range: Some("bytes=2-5"),
            if_range: Some(if_range),
            ..WHOLE
        };
        let response = open(&bench, &digest, asked).await.unwrap();
        assert_eq!(response.status(), status, "If-Range: {if_range}");
    }
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_taken_up_where_it_broke() {
    for ending in [Ending::Cut, Ending::Stall] {
        // Longer than this machine may stop for.
        let settings = Settings {
            stall_timeout: Duration::from_secs(2),
            ..Settings::default()
        };
        let bench = Bench::with(settings, None).await;
        let digest = bench.registry.put_blob("app", large());
        break_off(&bench, &large(), 1_000_000, 2, ending);

        let (bytes, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

        assert!(bytes == large() && error.is_none(), "{error:?}");
        let ranges: Vec<_> = bench.registry.seen();
        let ranges: Vec<_> = ranges.iter().map(|s| s.header(header::RANGE)).collect();
        assert_eq!(
            ranges,
            ["", "bytes=1000000-2999999", "bytes=2000000-2999999"]
        );
        assert_eq!(bench.puller.metrics().blob_resumes.get(), 2);
    }
}

#[tokio::test]
async fn a_part_that_breaks_off_is_taken_up_too() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    break_off(&bench, &"0123456789".into(), 2, 1, Ending::Cut);
    let asked = Asked {
        range: Some("bytes=2-7"),
        ..WHOLE
    };

    let (bytes, error) = read(open(&bench, &digest, asked).await.unwrap()).await;

    assert_eq!((bytes, error), (b"234567".to_vec(), None));
    let last = bench.registry.seen().pop().unwrap();
    assert_eq!(last.header(header::RANGE), "bytes=4-7");
}

#[tokio::test]
async fn a_blob_is_taken_up_where_the_upstream_knows_no_ranges() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    let (blob, asked) = (large(), AtomicUsize::new(0));
    bench.registry.intercept(move |_| {
        let answer = Answer::ok(blob.clone());
        Some(match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::ok(blob.slice(..1_000_000))
                .with("content-length", "3000000")
                .ending(Ending::Cut),
            _ => answer,
        })
    });

    let (bytes, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

    assert!(bytes == large() && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_blob_that_never_gets_anywhere_ends_in_an_error() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    break_off(&bench, &"0123456789".into(), 0, usize::MAX, Ending::Cut);

    let (bytes, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

    assert!(bytes.is_empty());
    assert!(
        matches!(error, Some(Error::Unavailable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_last_bytes_of_a_wrong_blob_never_reach_the_client() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    let mut wrong = large().to_vec();
    wrong[17] ^= 1;
    bench
        .registry
        .intercept(move |_| Some(Answer::ok(wrong.clone())));

    let (bytes, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

    assert!(bytes.len() < large().len());
    assert!(
        matches!(error, Some(Error::DigestMismatch { .. })),
        "{error:?}"
    );
    assert_eq!(bench.puller.metrics().digest_mismatches.get(), 1);
}

#[tokio::test]
async fn a_short_blob_is_an_error_also_when_its_length_matches() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    bench
        .registry
        .intercept(|_| Some(Answer::ok(large().slice(..1_000_000))));

    let (_, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

    assert!(
        matches!(error, Some(Error::DigestMismatch { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_blob_of_unknown_length_is_verified_too() {
    for (body, is_good) in [("0123456789", true), ("0123456780", false)] {
        let bench = Bench::new().await;
        let digest = bench.registry.put_blob("app", "0123456789");
        bench
            .registry
            .intercept(move |_| Some(Answer::ok(body).with("transfer-encoding", "chunked")));

        let response = open(&bench, &digest, WHOLE).await.unwrap();

        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        let (bytes, error) = read(response).await;
        assert_eq!(error.is_none(), is_good, "{error:?}");
        assert_eq!(bytes == body.as_bytes(), is_good);
    }
}

#[tokio::test]
async fn a_blob_by_sha512_is_verified() {
    let bench = Bench::new().await;
    let digest = digest_of(
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    );
    for (body, is_good) in [("abd", false), ("abc", true)] {
        bench.registry.intercept(move |_| Some(Answer::ok(body)));

        let (_, error) = read(open(&bench, &digest, WHOLE).await.unwrap()).await;

        assert_eq!(error.is_none(), is_good, "{error:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_upstream() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    bench.registry.intercept(move |_| {
        let answer = Answer::ok("x").with("content-length", "9");
        Some(answer.ending(Ending::Stall))
    });
    let response = open(&bench, &digest, WHOLE).await.unwrap();

    drop(response);

    let left = bench.registry.connections_closed(1);
    tokio::time::timeout(Duration::from_secs(5), left)
        .await
        .expect("the connection to the upstream is closed");
}

#[tokio::test]
async fn an_encoded_blob_is_refused() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "abc");
    bench
        .registry
        .intercept(|_| Some(Answer::ok("xyz").with("content-encoding", "gzip")));

    let refused = open(&bench, &digest, WHOLE).await;

    assert!(
        matches!(refused, Err(Error::BadAnswer { .. })),
        "{refused:?}"
    );
}
