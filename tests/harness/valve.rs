//! A TCP proxy that can stop in the middle of a transfer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::wait::PATIENCE;

/// A proxy before one server, which stops each connection after some bytes of
/// answers until it is opened.
#[derive(Debug)]
pub struct Valve {
    addr: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

/// What becomes of a connection that has reached the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// It stops.
    Shut,
    /// It goes on.
    Open,
    /// It goes on, unless it had to stop: then it ends.
    Cut,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    limit: u64,
    position: watch::Sender<Position>,
    /// The client's port of the connection that reached the limit last.
    stuck: watch::Sender<Option<u16>>,
}

impl Valve {
    /// Starts one before `server` that stops connections after `limit` bytes.
    pub async fn before(server: SocketAddr, limit: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound port has an address");
        let state = Arc::new(State {
            server,
            limit,
            position: watch::Sender::new(Position::Shut),
            stuck: watch::Sender::new(None),
        });
        let stop = CancellationToken::new();
        let accepting = accept(listener, state.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            addr,
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until a connection is stopped; says the port of its client.
    pub async fn stuck(&self) -> u16 {
        let mut stuck = self.state.stuck.subscribe();
        let port = timeout(PATIENCE, stuck.wait_for(Option::is_some)).await;
        let port = port.expect("a connection stops in time");
        port.ok().and_then(|port| *port).expect("it has a port")
    }

    /// Lets all connections go on, also later ones.
    pub fn open(&self) {
        self.state.position.send_replace(Position::Open);
    }

    /// Breaks off the connections that have stopped, and lets later ones pass.
    pub fn cut(&self) {
        self.state.position.send_replace(Position::Cut);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    while let Ok((client, peer)) = listener.accept().await {
        let connection = connection(client, peer.port(), state.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn connection(client: TcpStream, port: u16, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(state.server).await else {
        return;
    };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // Whichever side ends first ends both.
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => (),
        () = answers(from_server, to_client, port, &state) => (),
    }
}

async fn answers(from: OwnedReadHalf, mut to: OwnedWriteHalf, port: u16, state: &State) {
    let mut head = from.take(state.limit);
    let passed = copy(&mut head, &mut to).await;
    if passed.is_ok_and(|bytes| bytes == state.limit) {
        state.stuck.send_replace(Some(port));
        let mut position = state.position.subscribe();
        let has_stopped = *position.borrow() == Position::Shut;
        let now = position.wait_for(|now| *now != Position::Shut).await;
        let now = now.map_or(Position::Cut, |now| *now);
        if now == Position::Open || !has_stopped {
            let _ = copy(&mut head.into_inner(), &mut to).await;
        }
    }
    let _ = to.shutdown().await;
}
