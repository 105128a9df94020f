//! Upstreams of HTTP/2 that send frames without end.

use std::time::Duration;

use metahub_tests::{
    frames::{CONTINUATION, END_HEADERS, HEADERS, PING, SETTINGS, frame},
    hostile::{HostileHost, Said},
    tls_front::TlsFront,
    wait::eventually,
};

use super::*;

/// More than any answer takes before the worker has had enough, buffers of the
/// network included.
const ENOUGH: u64 = 64 << 20;

/// A status, as a header that is not to be remembered (RFC 7541, 6.2.2).
fn status(status: &[u8; 3]) -> Vec<u8> {
    [b"\x08\x03".as_slice(), status].concat()
}

/// A siege of an upstream that answers the first request of each connection
/// with `first`, and then with `again` without end.
async fn siege(first: Vec<u8>, again: Vec<u8>, patience: &str) -> (Siege, TlsFront) {
    let upstream = HostileHost::start(1).await;
    upstream.says(move |_| {
        let hello = frame(SETTINGS, 0, 0, &[]);
        Said::bytes([hello, first.clone()].concat()).then_for_ever(again.clone(), Duration::ZERO)
    });
    let front = TlsFront::with_http2_before(upstream.address()).await;
    let mut siege = Siege::with(upstream, &front.url(), patience).await;
    let account = Upstream {
        ca_pem: front.ca_pem(),
        ..Siege::account(&front.url())
    };
    siege.site.admin.put_upstream(account).await;
    siege.site.admin.all_current(1).await;
    (siege, front)
}

#[tokio::test]
async fn a_head_in_pieces_without_end_is_given_up() {
    // A header whose value has 16,000 bytes (RFC 7541, 5.1).
    let large = [b"\0\x01x\x7f\x81\x7c".as_slice(), &[b'y'; 16_000]].concat();
    for piece in [Vec::new(), b"\0\x01x\x01y".to_vec(), large] {
        let first = frame(HEADERS, 0, 1, &status(b"200"));
        let again = frame(CONTINUATION, 0, 1, &piece);
        let (siege, front) = siege(first, again, PATIENT).await;

        siege.pull_fails(503, "UNAVAILABLE").await;

        eventually("the worker hangs up", async || siege.upstream.open() == 0).await;
        assert!(siege.upstream.sent() < ENOUGH);
        assert!(front.spoken().contains(&"h2".to_owned()));
    }
}

#[tokio::test]
async fn interim_answers_and_pings_without_end_are_given_up() {
    for again in [
        frame(HEADERS, END_HEADERS, 1, &status(b"103")),
        frame(PING, 0, 0, &[0; 8]),
    ] {
        let (siege, front) = siege(Vec::new(), again, IMPATIENT).await;

        siege.pull_fails(503, "UNAVAILABLE").await;

        assert!(front.spoken().contains(&"h2".to_owned()));
    }
}
