//! Connections that their upstream closes while a request is on its way.

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: application/vnd.oci.image.index.v1+json\r\n\
    content-length: 34\r\n\r\n\
    {\"schemaVersion\":2,\"manifests\":[]}";

/// Answers the first request of a connection, and closes it at the second one.
async fn answer_once(mut stream: TcpStream) -> std::io::Result<()> {
    read_request(&mut stream).await?;
    stream.write_all(ANSWER).await?;
    read_request(&mut stream).await
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_request_on_a_connection_that_was_closed_is_sent_again_on_a_new_one() {
    let mut bench = Bench::patient().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    bench.upstream = Arc::new(Upstream::new("hub", url.parse().unwrap(), None, true));
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer_once(stream));
        }
    });
    // Leaves several idle connections, all of which close at their next request.
    let tags: Vec<_> = (0..8).map(|n| format!("t{n}")).collect();
    join_all(tags.iter().map(|tag| bench.pull(tag))).await;

    for tag in &tags {
        bench.clock.advance(Duration::from_secs(60));
        let pulled = bench.pull(tag).await.unwrap();

        assert!(pulled.stale.is_none(), "{tag}: {:?}", pulled.stale);
    }
    accepting.abort();
}
