//! Parts of blobs: several at once, and from upstreams that send others.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::{blobs::large, *};
use crate::upstream::{
    BlobBody, BlobDirectory, BlobRequest,
    testing::{Answer, part},
};

async fn get(bench: &Bench, digest: &Digest, range: &str) -> Response<BlobBody> {
    let range = HeaderValue::from_str(range).unwrap();
    let request = BlobRequest {
        repository: &app(),
        digest,
        method: &Method::GET,
        range: Some(&range),
        if_range: None,
        host: None,
    };
    bench.puller.blob(&bench.upstream, request).await.unwrap()
}

async fn read(response: Response<BlobBody>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Checks that an answer has these parts of a blob, and no others.
async fn check_parts(response: Response<BlobBody>, blob: &Bytes, parts: &[(usize, usize)]) {
    assert_eq!(response.status(), 206);
    let text = |name| response.headers()[name].to_str().unwrap().to_owned();
    let (media_type, length) = (text(header::CONTENT_TYPE), text(header::CONTENT_LENGTH));
    assert!(!response.headers().contains_key(header::CONTENT_RANGE));
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("several parts");

    let mut expected = Vec::new();
    for (first, last) in parts {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/{}\r\n\r\n",
            blob.len()
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&blob[*first..=*last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let body = read(response).await;
    assert!(body == expected[2..]);
    assert_eq!(length, body.len().to_string());
}

const RANGES: &str = "bytes=0-9, 100-199,2500000-2500001,-5";
const PARTS: [(usize, usize); 4] = [
    (0, 9),
    (100, 199),
    (2_500_000, 2_500_001),
    (2_999_995, 2_999_999),
];

#[tokio::test]
async fn several_parts_are_asked_for_without_what_is_far_between_them() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());

    check_parts(get(&bench, &digest, RANGES).await, &large(), &PARTS).await;

    let asked = bench.registry.seen();
    let gets = asked.iter().filter(|seen| seen.method == Method::GET);
    let ranges: Vec<_> = gets.map(|seen| seen.header(header::RANGE)).collect();
    assert_eq!(ranges, ["bytes=0-199", "bytes=2500000-2999999"]);
}

#[tokio::test]
async fn several_parts_come_also_from_an_upstream_that_knows_no_ranges() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    bench.registry.intercept(|_| Some(Answer::ok(large())));

    check_parts(get(&bench, &digest, RANGES).await, &large(), &PARTS).await;

    assert_eq!(bench.registry.count("GET "), 1);
}

#[tokio::test]
async fn several_parts_come_from_the_file_where_there_is_one() {
    let root = TempDir::new().unwrap();
    let settings = Settings {
        blob_directory: Some(BlobDirectory {
            path: root.path().into(),
            capacity: 64 << 20,
        }),
        ..Settings::default()
    };
    let bench = Bench::with(settings, None).await;
    let digest = bench.registry.put_blob("app", large());
    read(get(&bench, &digest, "bytes=0-2999999").await).await;

    check_parts(get(&bench, &digest, RANGES).await, &large(), &PARTS).await;

    assert_eq!(bench.registry.count("GET "), 1);
}

#[tokio::test]
async fn ranges_that_go_back_or_are_too_many_are_ignored_and_those_beyond_the_end_refused() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "0123456789");
    let many = (0..2000).map(|_| "1-1").collect::<Vec<_>>().join(",");

    for range in ["bytes=5-6,1-2", "bytes=0-5,3-8", &format!("bytes={many}")] {
        let response = get(&bench, &digest, range).await;

        assert_eq!(response.status(), 200, "{range}");
        assert_eq!(read(response).await, "0123456789");
    }
    let beyond = get(&bench, &digest, "bytes=10-11,20-").await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */10");
    let some = get(&bench, &digest, "bytes=1-2,20-").await;
    assert_eq!(some.status(), 206);
    assert_eq!(some.headers()[header::CONTENT_RANGE], "bytes 1-2/10");
    assert_eq!(read(some).await, "12");
}

#[tokio::test]
async fn another_part_than_the_one_that_was_asked_for_is_not_passed_on() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", large());
    for content_range in [None, Some("bytes 0-99/3000000"), Some("bytes 100-299/*")] {
        bench.registry.intercept(move |seen| {
            let is_ranged = !seen.header(header::RANGE).is_empty();
            let wrong = Answer {
                status: 206,
                ..Answer::ok(large().slice(..100))
            };
            let wrong = match content_range {
                Some(content_range) => wrong.with("content-range", content_range),
                None => wrong,
            };
            is_ranged.then_some(wrong)
        });

        let response = get(&bench, &digest, "bytes=100-199").await;

        assert_eq!(response.status(), 200, "{content_range:?}");
        assert!(read(response).await == large());
    }
    bench.registry.intercept(|seen| {
        let range = seen.header(header::RANGE);
        Some(part(&large(), range)).filter(|_| !range.is_empty())
    });
    let right = get(&bench, &digest, "bytes=100-199").await;
    assert_eq!(read(right).await, large().slice(100..200));
}

#[tokio::test]
async fn an_empty_blob_is_whole_whatever_part_of_it_is_asked_for() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_blob("app", "");

    for range in ["bytes=-7", "bytes=0-", "bytes=0-6,8-9"] {
        let response = get(&bench, &digest, range).await;

        assert_eq!(response.status(), 200, "{range}");
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "0");
        assert_eq!(read(response).await, "");
    }
}
