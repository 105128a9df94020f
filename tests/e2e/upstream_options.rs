//! What an admin says about an upstream, from the admin API to the host.

use std::net::SocketAddr;

use metahub_proto::policy::v1::{Blobs, Upstream};
use metahub_tests::{client::header, site::Site};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Where the upstream keeps its blobs: another host, which nobody serves.
const STORE: &str = "http://127.0.0.2:9/blob?signature=abc";

/// An upstream that redirects whatever it is asked for.
async fn redirecting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {STORE}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            // A worker that has gone away needs none.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn site() -> Site {
    let mut site = Site::start(1).await;
    let upstream = Upstream {
        name: "store.test".into(),
        url: format!("http://{}", redirecting().await),
        blobs: Blobs::Redirect.into(),
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    site
}

#[tokio::test]
async fn a_host_is_sent_to_where_the_upstream_keeps_its_blobs() {
    let site = site().await;

    let path = format!("/v2/store.test/org/app/blobs/sha256:{}", "0".repeat(64));
    let answer = site.host().get(&path).await;

    assert_eq!(answer.status(), 307);
    assert_eq!(header(&answer, "location"), STORE);
    assert_eq!(header(&answer, "cache-control"), "no-store");
}
