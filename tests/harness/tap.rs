//! A TCP proxy that keeps what passes through it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A proxy before one server.
#[derive(Debug)]
pub struct Tap {
    addr: SocketAddr,
    kept: Kept,
    _stop: DropGuard,
}

/// All bytes, of all connections and both directions.
type Kept = Arc<Mutex<Vec<u8>>>;

impl Tap {
    /// Starts one before `server`.
    pub async fn before(server: SocketAddr) -> Self {
        Self::before_at(Ipv4Addr::LOCALHOST, server).await
    }

    /// Starts one at `ip`, which is this machine's.
    pub async fn before_at(ip: Ipv4Addr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await;
        let listener = listener.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a bound port has an address");
        let (kept, stop) = (Kept::default(), CancellationToken::new());
        let accepting = accept(listener, server, kept.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            addr,
            kept,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> usize {
        self.kept.lock().expect("no one panicked").len()
    }

    /// Whether `text` has passed as it is.
    pub fn has_seen(&self, text: &str) -> bool {
        let kept = self.kept.lock().expect("no one panicked");
        kept.windows(text.len()).any(|it| it == text.as_bytes())
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, kept: Kept, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let kept = kept.clone();
        let connection = async move {
            let Ok(server) = TcpStream::connect(server).await else {
                return;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // Whichever side ends first ends both.
            tokio::select! {
                () = pass(from_client, to_server, &kept) => (),
                () = pass(from_server, to_client, &kept) => (),
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, kept: &Kept) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        kept.lock().expect("no one panicked").extend(bytes);
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
