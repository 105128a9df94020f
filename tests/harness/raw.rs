//! Bytes sent over TCP as they are, for requests that no client library makes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a server may take to answer and close: less than it waits by default
/// for a client that says or reads nothing.
const LIMIT: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// The status of its first line. 0: there was none.
    pub status: u16,
    /// All of it, as far as it is text.
    pub text: String,
}

/// Sends `bytes`, which must ask to close the connection, and reads until the
/// server does so.
pub async fn send(addr: SocketAddr, bytes: &[u8]) -> RawAnswer {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let mut answer = Vec::new();
    let exchange = async {
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    timeout(LIMIT, exchange)
        .await
        .expect("it answers and closes");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    RawAnswer {
        status: status.unwrap_or(0),
        text,
    }
}
