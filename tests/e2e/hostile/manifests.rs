//! Manifests and lists that are wrong, late, or without end.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use metahub_cli::demo::digest::sha256;
use metahub_tests::{client::header, hostile::Said, wait::eventually};

use super::*;

/// More than any answer takes before the worker has had enough, buffers of the
/// network included.
const ENOUGH: u64 = 64 << 20;
const NO_PAUSE: Duration = Duration::ZERO;
const CHUNKED: [(&str, &str); 2] = [("Content-Type", INDEX), ("Transfer-Encoding", "chunked")];

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused() {
    let siege = Siege::start().await;
    siege.upstream.says(|_| Said::ok(INDEX, "{}"));

    let answer = siege.site.host().manifest(APP, &sha256(b"other")).await;

    assert_eq!(answer.status(), 502);
    assert_eq!(error(answer).await.0, "DIGEST_INVALID");
    siege.still_serves().await;
}

#[tokio::test]
async fn a_manifest_that_is_shorter_than_it_says_is_never_served() {
    let siege = Siege::start().await;
    let headers = [("Content-Type", INDEX), ("Content-Length", "1000")];
    siege
        .upstream
        .says(move |_| Said::headed("200 OK", &headers).and(r#"{"manifests":[]}"#));

    siege.pull_fails(503, "UNAVAILABLE").await;
}

#[tokio::test]
async fn a_manifest_without_end_is_refused_at_the_limit() {
    let siege = Siege::start().await;
    let length = [("Content-Type", INDEX), ("Content-Length", "99999999999")];
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 1 << 16], b"\r\n"].concat();
    for (headers, endless) in [
        (length, vec![b' '; 1 << 16]),
        (CHUNKED, chunk),
        ([("Content-Type", INDEX), ("X", "y")], vec![b' '; 1 << 16]),
    ] {
        siege.upstream.says(move |_| {
            Said::headed("200 OK", &headers).then_for_ever(endless.clone(), NO_PAUSE)
        });
        let before = siege.upstream.sent();

        siege.pull_fails(502, "SIZE_INVALID").await;

        eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
        assert!(siege.upstream.sent() - before < ENOUGH);
    }
}

#[tokio::test]
async fn small_chunks_without_end_are_given_up() {
    let siege = Siege::impatient().await;
    let pause = Duration::from_millis(50);
    siege
        .upstream
        .says(move |_| Said::headed("200 OK", &CHUNKED).then_for_ever("1\r\n \r\n", pause));

    siege.pull_fails(503, "UNAVAILABLE").await;

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
}

#[tokio::test]
async fn a_manifest_that_drips_is_given_up() {
    let siege = Siege::impatient().await;
    let headers = [("Content-Type", INDEX), ("Content-Length", "4000000")];
    let pause = Duration::from_millis(50);
    siege
        .upstream
        .says(move |_| Said::headed("200 OK", &headers).then_for_ever(" ", pause));

    siege.pull_fails(503, "UNAVAILABLE").await;

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
}

#[tokio::test]
async fn a_head_that_drips_is_given_up() {
    let siege = Siege::impatient().await;
    let pause = Duration::from_millis(50);
    siege
        .upstream
        .says(move |_| Said::bytes("HTTP/1.1 200 OK\r\nX: ").then_for_ever("y", pause));

    siege.pull_fails(503, "UNAVAILABLE").await;

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    let siege = Siege::start().await;
    let long = format!("X-Bomb: {}\r\n", "y".repeat(1 << 16));
    for bomb in ["X-Bomb: y\r\n".to_owned(), long] {
        siege.upstream.says(move |_| {
            Said::bytes("HTTP/1.1 200 OK\r\n").then_for_ever(bomb.clone(), NO_PAUSE)
        });

        siege.pull_fails(503, "UNAVAILABLE").await;

        eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_given_up() {
    let siege = Siege::start().await;
    siege
        .upstream
        .says(|_| Said::bytes("SSH-2.0-OpenSSH_9.2\r\n"));

    siege.pull_fails(503, "UNAVAILABLE").await;
}

#[tokio::test]
async fn a_manifest_that_is_too_deep_is_refused() {
    let siege = Siege::start().await;
    let deep = "[".repeat(1 << 20);
    for body in [
        deep.clone(),
        format!(r#"{{"manifests":{deep}"#),
        r#"{"a":"#.repeat(200_000),
    ] {
        siege.upstream.says(move |_| Said::ok(INDEX, &body));

        siege.pull_fails(502, "MANIFEST_INVALID").await;
    }
}

#[tokio::test]
async fn a_list_that_is_too_deep_or_too_large_is_refused() {
    let siege = Siege::start().await;
    let path = format!("/v2/{APP}/tags/list");
    for body in [
        format!(r#"{{"name":"app","tags":{}"#, "[".repeat(1 << 20)),
        " ".repeat(20 << 20),
    ] {
        siege
            .upstream
            .says(move |_| Said::ok("application/json", &body));

        let answer = siege.site.host().get(&path).await;

        assert_eq!(answer.status(), 502);
        siege.still_serves().await;
    }
}

#[tokio::test]
async fn an_image_of_dockers_first_schema_is_refused_in_words() {
    let siege = Siege::start().await;
    let schema1 = r#"{"schemaVersion":1,"name":"app","tag":"latest","fsLayers":[],"history":[]}"#;
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ] {
        siege.upstream.says(move |_| Said::ok(media_type, schema1));

        let answer = siege.pull().await;

        assert_eq!(answer.status(), 502);
        let (code, message) = error(answer).await;
        assert_eq!(code, "MANIFEST_INVALID");
        assert!(message.contains("schema 1"), "{message}");
        siege.still_serves().await;
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_given_up() {
    let siege = Siege::impatient().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    siege
        .upstream
        .says(move |_| Said::bytes("").then_for_ever(hint, NO_PAUSE));

    siege.pull_fails(503, "UNAVAILABLE").await;

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
}

#[tokio::test]
async fn a_manifest_that_is_compressed_unasked_is_refused() {
    let siege = Siege::start().await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(br#"{"manifests":[]}"#)
        .expect("memory takes it");
    let body = gzip.finish().expect("memory takes it");
    siege.upstream.says(move |_| {
        let length = body.len().to_string();
        let headers = [
            ("Content-Type", INDEX),
            ("Content-Encoding", "gzip"),
            ("Content-Length", &length),
        ];
        Said::headed("200 OK", &headers).and(&body)
    });

    siege.pull_fails(502, "MANIFEST_INVALID").await;

    let received = siege.upstream.received().to_ascii_lowercase();
    let asked = |value: &str| received.contains(&format!("accept-encoding: {value}\r\n"));
    assert!(
        asked("identity") && !received.contains("gzip"),
        "{received}"
    );
}

#[tokio::test]
async fn a_status_that_nobody_has_asked_for_is_no_answer() {
    let siege = Siege::start().await;
    let blob = format!("blobs/{}", sha256(b"blob"));
    // What would be good if the status were.
    let body = |request: &str| {
        if request.contains("/manifests/") {
            r#"{"schemaVersion":2,"config":{},"layers":[]}"#
        } else if request.contains("/tags/") {
            r#"{"name":"app","tags":["latest"]}"#
        } else {
            "blob"
        }
    };
    for status in [
        "201 Created",
        "204 No Content",
        "206 Partial Content",
        "304 Not Modified",
        "416 Range Not Satisfiable",
        "300 Multiple Choices",
        "307 Temporary Redirect",
    ] {
        siege.upstream.says(move |request| {
            let body = match &status[..3] {
                "204" | "304" => "",
                _ => body(request),
            };
            let length = body.len().to_string();
            let headers = [
                ("Content-Type", "application/json"),
                ("Content-Length", &length),
            ];
            Said::headed(status, &headers).and(body)
        });

        for path in ["manifests/latest", "tags/list", &blob] {
            let answer = siege.site.host().get(&format!("/v2/{APP}/{path}")).await;
            assert_eq!(answer.status(), 502, "{path} after {status}");
        }
    }
    siege.still_serves().await;
}

#[tokio::test]
async fn redirects_in_a_circle_are_followed_a_few_times_only() {
    let siege = Siege::start().await;
    let url = siege.upstream.url();
    siege.upstream.says(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        Said::redirect(&format!("{url}{path}/on"))
    });

    let refused = siege.pull().await;

    assert_eq!(refused.status(), 502);
    let received = siege.upstream.received();
    assert_eq!(received.matches(" HTTP/1.1\r\n").count(), 6, "{received}");
    siege.still_serves().await;
}

#[tokio::test]
async fn a_pause_beyond_all_measure_is_cut_short() {
    let siege = Siege::start().await;
    for (status, told) in [("503 Out", 503), ("429 Too Many Requests", 429)] {
        siege.upstream.says(move |_| {
            let pause = u64::MAX.to_string();
            let headers = [("Retry-After", pause.as_str()), ("Content-Length", "0")];
            Said::headed(status, &headers)
        });
        let blob = format!("blobs/{}", sha256(status.as_bytes()));

        for path in [blob.as_str(), "manifests/latest"] {
            let answer = siege.site.host().get(&format!("/v2/{APP}/{path}")).await;

            assert_eq!(answer.status(), told, "{path}");
            let seconds: u64 = header(&answer, "retry-after").parse().unwrap();
            assert!(seconds <= 600, "{seconds}");
        }
    }
    siege.still_serves().await;
}
