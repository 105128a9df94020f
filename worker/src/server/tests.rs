//! A server on a free port, spoken to over bare sockets.

use std::{convert::Infallible, net::SocketAddr};

use futures_util::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::peer::Peer;

mod http2;
mod proxied;
mod secured;
mod unfinished;

const PATIENCE: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

const LIMITS: Limits = Limits {
    connections: 2,
    connections_per_address: 100,
    proxies: Proxies(Vec::new()),
    header_timeout: Duration::from_secs(1),
    stall_timeout: Duration::from_secs(1),
    handshakes: 100,
    silent_grace: Duration::from_secs(10),
    drain_timeout: Duration::from_secs(1),
};

struct Server {
    addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    /// A request is being answered.
    asked: Arc<Notify>,
    /// Lets the answers out.
    answer: Arc<Notify>,
}

/// Starts a server whose answers wait to be let out if `slow`.
async fn start(slow: bool) -> Server {
    start_with(LIMITS, slow, Bytes::from_static(b"fine")).await
}

/// The same, with other limits and answers of another body.
async fn start_with(limits: Limits, slow: bool, body: Bytes) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = {
        let (asked, answer) = (asked.clone(), answer.clone());
        move |_| {
            let (asked, answer, body) = (asked.clone(), answer.clone(), body.clone());
            async move {
                asked.notify_one();
                if slow {
                    answer.notified().await;
                }
                Response::new(Full::new(body))
            }
        }
    };
    let task = tokio::spawn(serve(listener, limits, service, shutdown.clone()));
    Server {
        addr,
        shutdown,
        task,
        asked,
        answer,
    }
}

async fn say(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("it accepts");
    stream.write_all(bytes).await.expect("it reads");
    stream
}

async fn hear(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset is an end, too.
    let read = timeout(PATIENCE, stream.read_to_end(&mut heard)).await;
    read.expect("it ends in time").ok();
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn a_tls_hello_gets_plain_text() {
    let server = start(false).await;
    let hello = [0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3, 0x55, 0, 0, 0, 0];

    let heard = hear(say(server.addr, &hello).await).await;

    assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away() {
    let server = start(false).await;

    assert_eq!(hear(say(server.addr, b"").await).await, "");
}

#[tokio::test]
async fn a_client_that_says_half_of_a_preface_is_sent_away() {
    let server = start(false).await;

    assert_eq!(hear(say(server.addr, b"PRI * HT").await).await, "");
}

#[tokio::test]
async fn a_request_may_take_longer_than_its_head_may() {
    let server = start(true).await;
    let stream = say(server.addr, REQUEST).await;
    server.asked.notified().await;

    sleep_past(LIMITS.header_timeout).await;
    server.answer.notify_one();

    assert!(hear(stream).await.ends_with("fine"));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let server = start(true).await;
    let mut streams = Vec::new();
    for _ in 0..LIMITS.connections {
        streams.push(say(server.addr, REQUEST).await);
        server.asked.notified().await;
    }

    let third = say(server.addr, REQUEST).await;
    let early = timeout(Duration::from_millis(50), server.asked.notified()).await;
    server.answer.notify_one();
    let late = timeout(PATIENCE, server.asked.notified()).await;
    server.answer.notify_waiters();
    server.answer.notify_one();

    assert!(early.is_err(), "it was served beyond the limit");
    assert!(late.is_ok(), "it was not served when a place was free");
    assert!(hear(third).await.ends_with("fine"));
}

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let limits = Limits {
        connections_per_address: 1,
        ..Limits::for_tests()
    };
    let service = |_| std::future::ready(Response::new(Full::new(Bytes::from_static(b"fine"))));
    tokio::spawn(serve(listener, limits, service, shutdown));

    let first = say(addr, b"").await;
    let refused = hear(say(addr, b"").await).await;
    drop(first);
    let served = async { while !hear(say(addr, REQUEST).await).await.ends_with("fine") {} };

    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(timeout(PATIENCE, served).await.is_ok(), "it kept the place");
}

#[tokio::test]
async fn a_silent_connection_gives_its_place_to_the_next_and_a_used_one_does_not() {
    let limits = Limits {
        silent_grace: Duration::ZERO,
        header_timeout: 2 * PATIENCE,
        ..LIMITS
    };
    let per_address = Limits {
        connections: 100,
        connections_per_address: 2,
        ..limits.clone()
    };
    for limits in [limits, per_address] {
        let server = start_with(limits, true, Bytes::from_static(b"fine")).await;
        let used = say(server.addr, REQUEST).await;
        server.asked.notified().await;
        let silent = say(server.addr, b"GET / HT").await;

        let next = say(server.addr, REQUEST).await;
        let asked = timeout(PATIENCE, server.asked.notified()).await;
        assert!(asked.is_ok(), "a silent connection kept it out");
        server.answer.notify_waiters();

        assert_eq!(hear(silent).await, "");
        assert!(hear(used).await.ends_with("fine"));
        assert!(hear(next).await.ends_with("fine"));
    }
}

#[tokio::test]
async fn an_open_request_is_answered_after_the_stop() {
    let server = start(true).await;
    let stream = say(server.addr, REQUEST).await;
    server.asked.notified().await;

    server.shutdown.cancel();
    server.answer.notify_one();

    assert!(hear(stream).await.ends_with("fine"));
    timeout(PATIENCE, server.task)
        .await
        .expect("it stops")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() {
    let server = start(true).await;
    let stream = say(server.addr, REQUEST).await;
    server.asked.notified().await;

    server.shutdown.cancel();

    timeout(PATIENCE, server.task)
        .await
        .expect("it stops")
        .unwrap();
    assert_eq!(hear(stream).await, "");
}

/// Waits on the clock, which is what the test is about.
async fn sleep_past(limit: Duration) {
    sleep(limit + limit / 2).await;
}

/// How much of an answer is read when the client first lets `pause` go by
/// before each piece of 1 MiB.
async fn read_slowly(mut stream: TcpStream, pauses: usize, pause: Duration) -> usize {
    let (mut read, mut piece) = (0, vec![0; 1 << 20]);
    for n in 0.. {
        if n < pauses {
            sleep(pause).await;
        }
        match timeout(PATIENCE, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(length)) => read += length,
            Err(_) => panic!("neither bytes nor an end in time"),
        }
    }
    read
}

/// More than the kernel keeps for a connection.
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let server = start_with(LIMITS, false, vec![0; LARGE].into()).await;
    let stream = say(server.addr, REQUEST).await;

    let read = read_slowly(stream, 1, 4 * LIMITS.stall_timeout).await;

    assert!(read < LARGE, "it was given all");
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything() {
    // Far from what a busy machine takes by itself.
    let limits = Limits {
        stall_timeout: Duration::from_secs(5),
        ..LIMITS
    };
    let pause = limits.stall_timeout / 10;
    let server = start_with(limits, false, vec![0; LARGE].into()).await;
    let stream = say(server.addr, REQUEST).await;

    let read = read_slowly(stream, 15, pause).await;

    assert!(read > LARGE, "it was cut off after {read} bytes");
}

/// Sends pieces with pauses between them until the server ends it. Returns how
/// many there were.
async fn drip(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> usize {
    let mut sent = 0;
    let dripping = async {
        while stream.write_all(piece).await.is_ok() {
            sent += 1;
            sleep(pause).await;
        }
    };
    timeout(PATIENCE, dripping).await.expect("it ends in time");
    sent
}

#[tokio::test]
async fn a_head_that_drips_in_does_not_keep_its_connection() {
    let server = start(false).await;
    let mut stream = say(server.addr, b"GET / HTTP/1.1\r\nhost: here\r\nx: ").await;

    let sent = drip(&mut stream, b"x", Duration::from_millis(10)).await;

    assert!(sent > 1 && !hear(stream).await.contains("fine"));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_not_answered() {
    let server = start(true).await;
    let mut stream = say(server.addr, b"GET / HTTP/1.1\r\nhost: here\r\nx: ").await;

    let sent = drip(&mut stream, &[b'x'; 16 << 10], Duration::ZERO).await;

    let heard = hear(stream).await;
    assert!(sent < 1_000, "it took {sent} pieces");
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 431 "),
        "{heard}"
    );
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let server = start(false).await;
    let head = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000000000\r\n\r\n";
    let mut stream = say(server.addr, head).await;

    let sent = drip(&mut stream, &[b'x'; 64 << 10], Duration::ZERO).await;

    assert!(sent < 1_000, "it took {sent} pieces");
}

#[tokio::test]
async fn a_request_tells_where_it_is_from() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let service = |request: Request<Incoming>| {
        let peer = format!("{:?}", request.extensions().get::<Peer>());
        std::future::ready(Response::new(Full::new(Bytes::from(peer))))
    };
    tokio::spawn(serve(listener, LIMITS, service, shutdown));

    let heard = hear(say(addr, REQUEST).await).await;

    assert!(heard.ends_with("Some(Peer(127.0.0.1))"), "{heard}");
}
