//! HTTP/2 clients that ask for a lot and read next to nothing of it.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use h2::{RecvStream, client::Builder};
use http::Request;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::admin::Login;

/// One connection with open requests. It answers pings, so that it is taken to
/// be alive, and reads no body.
#[derive(Debug)]
pub struct StalledClient {
    connection: JoinHandle<()>,
    _bodies: Vec<RecvStream>,
}

/// What it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// A path, for example `/v2/`.
    pub path: &'a str,
    /// How many requests for it.
    pub requests: usize,
    /// How many bytes of each answer it has room for.
    pub window: u32,
}

impl StalledClient {
    /// Connects to the registry at `addr`, and asks as the holder of `login`.
    /// Returns when each request has been answered with 200.
    pub async fn ask(addr: SocketAddr, login: &Login, demand: Demand<'_>) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let mut client = Builder::new();
        client.initial_window_size(demand.window);
        let (mut requests, connection) = client
            .handshake::<_, bytes::Bytes>(stream)
            .await
            .expect("it speaks HTTP/2");
        let connection = tokio::spawn(async move {
            // However it ends.
            let _ = connection.await;
        });
        let basic = STANDARD.encode(format!("{}:{}", login.name, login.secret));
        let mut bodies = Vec::new();
        for _ in 0..demand.requests {
            let request = Request::get(format!("http://{addr}{}", demand.path))
                .header("authorization", format!("Basic {basic}"))
                .body(())
                .expect("a request");
            requests = requests.ready().await.expect("there is room for more");
            let (answer, _) = requests.send_request(request, true).expect("it is sent");
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200, "{}", demand.path);
            bodies.push(answer.into_body());
        }
        Self {
            connection,
            _bodies: bodies,
        }
    }

    /// Whether the server has not closed the connection.
    pub fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }
}

impl Drop for StalledClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
