//! Connections that are slow, large or many.

use std::{net::SocketAddr, time::Duration};

use metahub_cli::demo::image::Form;
use metahub_tests::{
    raw::{RawAnswer, send},
    site::Site,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn site(flag: &str) -> (Site, SocketAddr) {
    let site = Site::start_with(1, Form::Docker, &[flag]).await;
    let addr = site.workers[0].addr();
    (site, addr)
}

/// The answer to one who has not logged in.
async fn stranger(addr: SocketAddr) -> RawAnswer {
    let request = b"GET /v2/ HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    send(addr, request).await
}

/// A connection that is kept after a request.
async fn used(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let request = b"GET /v2/ HTTP/1.1\r\nhost: here\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let read = stream.read_u8().await;
    read.expect("it answers");
    stream
}

/// Fails unless the server closes a connection on which it heard `bytes`.
async fn closes(addr: SocketAddr, bytes: &[u8]) -> RawAnswer {
    send(addr, bytes).await
}

#[tokio::test]
async fn who_takes_long_to_say_something_is_not_waited_for() {
    let (_site, addr) = site("--header-timeout=1s").await;

    for said in [
        &b""[..],
        b"GET /v2/ HT",
        b"GET /v2/ HTTP/1.1\r\nhost: here\r\nx: ",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let heard = closes(addr, said).await;
        assert_ne!(heard.status, 200, "{said:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_not_read_to_its_end() {
    let (_site, addr) = site("--header-timeout=30s").await;
    let mut head = b"GET /v2/ HTTP/1.1\r\nhost: here\r\nx: ".to_vec();
    head.resize(4 << 20, b'x');

    let heard = closes(addr, &head).await;

    assert!(matches!(heard.status, 0 | 431), "{}", heard.text);
}

#[tokio::test]
async fn a_form_without_end_gets_no_token_and_is_not_read_to_its_end() {
    let (_site, addr) = site("--challenge=bearer").await;
    let mut form = b"POST /token HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\
        content-type: application/x-www-form-urlencoded\r\n\
        content-length: 1000000000000\r\n\r\n\
        grant_type=password&username="
        .to_vec();
    form.resize(4 << 20, b'x');

    let heard = closes(addr, &form).await;

    assert!(matches!(heard.status, 0 | 400), "{}", heard.text);
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_until_another_has_ended() {
    let (_site, addr) = site("--max-connections=1").await;
    let first = used(addr).await;

    let mut second = tokio::spawn(stranger(addr));
    let early = timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "it was answered beyond the limit");
    drop(first);

    assert_eq!(second.await.expect("an answer").status, 401);
}

#[tokio::test]
async fn an_address_over_its_limit_is_refused_until_it_has_closed_some() {
    let (_site, addr) = site("--max-connections-per-address=1").await;
    let first = used(addr).await;

    eventually("it is refused", async || stranger(addr).await.status != 401).await;
    drop(first);

    eventually("it is let in again", async || {
        stranger(addr).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_connections_as_there_are() {
    let flags = [
        "--max-connections-per-address=1",
        "--trusted-proxy=127.0.0.0/8",
    ];
    let site = Site::start_with(1, Form::Docker, &flags).await;
    let addr = site.workers[0].addr();
    let _first = TcpStream::connect(addr).await.expect("it listens");

    for _ in 0..3 {
        assert_eq!(stranger(addr).await.status, 401);
    }
}
