//! Tests of proxied connections, with the PROXY protocol.

use super::*;
use crate::{
    peer::Secured,
    server::proxy_protocol::tests::{CLIENT, header},
};

/// Starts a server that trusts only 127.0.0.1 and answers with the client's
/// address.
async fn start(limits: Limits) -> (SocketAddr, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let shutdown = CancellationToken::new();
    let service = |request: Request<Incoming>| {
        let extensions = request.extensions();
        let is_secure = extensions.get::<Secured>().is_some();
        let told = format!("{:?} {is_secure}", extensions.get::<Peer>());
        std::future::ready(Response::new(Full::new(Bytes::from(told))))
    };
    let limits = Limits {
        proxies: Proxies(vec!["127.0.0.1/32".parse().unwrap()]),
        ..limits
    };
    let served = Port {
        has_proxy_protocol: true,
        ..Port::from(listener)
    };
    tokio::spawn(serve(served, limits, service, shutdown.clone()));
    (([127, 0, 0, 1], port).into(), shutdown.drop_guard())
}

/// The answer on a connection that begins with `header`.
async fn heard(addr: SocketAddr, header: &[u8]) -> String {
    hear(say(addr, &[header, REQUEST].concat()).await).await
}

#[tokio::test]
async fn a_client_is_at_the_address_that_a_trusted_proxy_names() {
    let (addr, _stop) = start(LIMITS).await;

    for (header, told) in [
        (header(0x21, 0x11, CLIENT), "Some(Peer(192.0.2.7)) false"),
        (
            header(0x21, 0x11, &[CLIENT, &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat()),
            "Some(Peer(192.0.2.7)) true",
        ),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(),
            "Some(Peer(192.0.2.7)) false",
        ),
        (header(0x20, 0, &[]), "Some(Peer(127.0.0.1)) false"),
    ] {
        let heard = heard(addr, &header).await;
        assert!(heard.ends_with(told), "{heard}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_without_a_header_hears_what_to_do() {
    let (addr, _stop) = start(LIMITS).await;

    let heard = heard(addr, b"").await;

    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.contains("--proxy-protocol"), "{heard}");
}

#[tokio::test]
async fn a_header_of_a_client_that_is_no_trusted_proxy_is_no_header() {
    let (addr, _stop) = start(LIMITS).await;
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], addr.port()));
    let from = |addr| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
        socket.connect(addr).await.unwrap()
    };

    let mut direct = from(elsewhere).await;
    direct.write_all(REQUEST).await.unwrap();
    let mut forged = from(elsewhere).await;
    let forgery = [&header(0x21, 0x11, CLIENT)[..], REQUEST].concat();
    forged.write_all(&forgery).await.unwrap();

    assert!(hear(direct).await.ends_with("Some(Peer(127.0.0.3)) false"));
    let heard = hear(forged).await;
    assert!(!heard.contains("192.0.2.7"), "{heard}");
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn a_header_that_is_malformed_or_does_not_come_ends_the_connection() {
    let (addr, _stop) = start(LIMITS).await;
    let begun = &header(0x21, 0x11, CLIENT)[..20];

    assert_eq!(heard(addr, &header(0x33, 0x11, CLIENT)).await, "");
    // The header is cut off after 20 bytes.
    assert_eq!(hear(say(addr, begun).await).await, "");
    assert_eq!(hear(say(addr, b"PROXY ").await).await, "");
}

#[tokio::test]
async fn a_client_behind_a_proxy_has_no_more_connections_than_it_may() {
    let limits = Limits {
        connections: 100,
        connections_per_address: 1,
        ..LIMITS
    };
    let (addr, _stop) = start(limits).await;
    let header = header(0x21, 0x11, CLIENT);
    let open = say(
        addr,
        &[&header[..], b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"].concat(),
    )
    .await;
    let mut first = [0; 12];
    let (mut open, other) = (open, b"PROXY TCP4 192.0.2.8 192.0.2.1 1 2\r\n");
    open.read_exact(&mut first).await.unwrap();

    let refused = heard(addr, &header).await;
    let elsewhere = heard(addr, other).await;
    drop(open);
    let served = async { while !heard(addr, &header).await.starts_with("HTTP/1.1 200") {} };

    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(elsewhere.starts_with("HTTP/1.1 200 "), "{elsewhere}");
    assert!(timeout(PATIENCE, served).await.is_ok(), "it kept the place");
}
