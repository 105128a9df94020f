//! A server on a free port, spoken to over bare sockets.

use std::net::SocketAddr;

use http_body_util::Full;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

const LIMITS: Limits = Limits {
    connections: 2,
    header_timeout: Duration::from_millis(200),
    drain_timeout: Duration::from_millis(300),
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
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = {
        let (asked, answer) = (asked.clone(), answer.clone());
        move |_| {
            let (asked, answer) = (asked.clone(), answer.clone());
            async move {
                asked.notify_one();
                if slow {
                    answer.notified().await;
                }
                Response::new(Full::new(Bytes::from_static(b"fine")))
            }
        }
    };
    let task = tokio::spawn(serve(listener, LIMITS, service, shutdown.clone()));
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
