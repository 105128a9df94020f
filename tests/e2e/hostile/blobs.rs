//! Blobs that are not what was asked for: a client sees a broken connection,
//! never a clean end.

use std::{ops::Range, time::Duration};

use metahub_cli::demo::digest::sha256;
use metahub_tests::{hostile::Said, wait::eventually};

use super::*;

const LAYER: &str = "application/octet-stream";
const SIZE: usize = 1 << 20;
/// More than any blob takes before the worker has had enough, buffers of the
/// network included.
const ENOUGH: u64 = 64 << 20;

fn layer() -> Vec<u8> {
    (0..SIZE).map(|i| (i % 251) as u8).collect()
}

/// A part of the layer with headers that promise it to its end.
fn part(range: Range<usize>) -> Said {
    let length = (SIZE - range.start).to_string();
    let span = format!("bytes {}-{}/{SIZE}", range.start, SIZE - 1);
    let headers = [
        ("Content-Length", length.as_str()),
        ("Content-Range", &span),
    ];
    let status = if range.start == 0 {
        "200 OK"
    } else {
        "206 Partial Content"
    };
    Said::headed(status, &headers[..1 + usize::from(range.start > 0)]).and(&layer()[range])
}

/// Where the range begins that `request` asks for.
fn start(request: &str) -> usize {
    let lower = request.to_ascii_lowercase();
    let (_, rest) = lower.split_once("range: bytes=").unwrap_or(("", "0-"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a range has a beginning")
}

/// Fails unless a pull of the layer begins, and ends with a broken connection.
async fn breaks(siege: &Siege) {
    let answer = siege.blob(&sha256(&layer())).await;

    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    siege.still_serves().await;
}

#[tokio::test]
async fn a_wrong_blob_breaks_the_connection() {
    let siege = Siege::start().await;
    siege.upstream.says(|_| Said::ok(LAYER, vec![0; SIZE]));

    breaks(&siege).await;
}

#[tokio::test]
async fn a_blob_that_is_too_short_or_too_long_breaks_the_connection() {
    let siege = Siege::start().await;
    for length in [SIZE / 2, SIZE + 1] {
        let mut wrong = layer();
        wrong.resize(length, 0);
        siege.upstream.says(move |_| Said::ok(LAYER, &wrong));

        breaks(&siege).await;
    }
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_whole_for_the_client() {
    let siege = Siege::start().await;
    siege.upstream.says(|request| {
        let from = start(request);
        part(from..(from + SIZE / 2 + 1).min(SIZE))
    });

    let answer = siege.blob(&sha256(&layer())).await;

    assert!(answer.bytes().await.unwrap() == layer());
}

#[tokio::test]
async fn a_blob_that_breaks_off_for_good_breaks_the_connection() {
    let siege = Siege::start().await;
    siege.upstream.says(|request| match start(request) {
        0 => part(0..SIZE / 2),
        _ => Said::bytes(""),
    });

    breaks(&siege).await;
}

#[tokio::test]
async fn a_blob_of_other_bytes_after_a_break_breaks_the_connection() {
    let siege = Siege::start().await;
    siege.upstream.says(|request| match start(request) {
        0 => part(0..SIZE / 2),
        from => {
            let mut forged = part(from..from);
            forged = forged.and(vec![0; SIZE - from]);
            forged
        }
    });

    breaks(&siege).await;
}

#[tokio::test]
async fn a_blob_that_stalls_breaks_the_connection() {
    let siege = Siege::impatient().await;
    let never = Duration::from_secs(3600);
    siege.upstream.says(move |request| match start(request) {
        0 => part(0..SIZE / 2).then_for_ever("", never),
        _ => Said::bytes("").then_for_ever("", never),
    });

    breaks(&siege).await;
}

/// A siege whose upstream sends chunk after chunk.
async fn without_end() -> Siege {
    let siege = Siege::start().await;
    let chunk = [b"10000\r\n".as_slice(), &[0; 1 << 16], b"\r\n"].concat();
    siege.upstream.says(move |_| {
        Said::headed("200 OK", &[("Transfer-Encoding", "chunked")])
            .then_for_ever(chunk.clone(), Duration::ZERO)
    });
    siege
}

#[tokio::test]
async fn a_blob_without_end_is_broken_off_at_the_limit() {
    let siege = without_end().await;

    breaks(&siege).await;

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
    assert!(siege.upstream.sent() < ENOUGH);
}

#[tokio::test]
async fn a_blob_that_is_announced_beyond_the_limit_is_refused() {
    let siege = Siege::start().await;
    for length in ["2097153", "999999999999999999"] {
        siege.upstream.says(move |_| {
            Said::headed("200 OK", &[("Content-Length", length)])
                .then_for_ever([0; 1 << 16], Duration::ZERO)
        });

        let answer = siege.blob(&sha256(&layer())).await;

        assert_eq!(answer.status(), 502);
        assert_eq!(error(answer).await.0, "SIZE_INVALID");
        eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
    }
}

#[tokio::test]
async fn a_blob_without_end_ends_with_its_client() {
    let siege = without_end().await;

    let mut answer = siege.blob(&sha256(&layer())).await;
    answer.chunk().await.unwrap();
    drop(answer);

    eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
    siege.still_serves().await;
}
