//! TLS in front of a server that has none.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::authority::Authority;

/// A front on a free port of loopback, until it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    authority: Authority,
    _stop: DropGuard,
}

/// How a front ends a connection when its server has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// With `close_notify`, as TLS has it.
    Polite,
    /// Without, as somebody ends it who cuts the wire.
    Rude,
}

impl TlsFront {
    /// Starts one before `server`.
    pub async fn before(server: SocketAddr) -> Self {
        Self::start(server, Manners::Polite).await
    }

    /// Starts one that ends no connection as TLS has it: what is cut off looks
    /// like what is at its end, to those who do not look.
    pub async fn cutting_before(server: SocketAddr) -> Self {
        Self::start(server, Manners::Rude).await
    }

    async fn start(server: SocketAddr, manners: Manners) -> Self {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(authority.identity("127.0.0.1").server());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let stop = CancellationToken::new();
        let accepting = accept(listener, acceptor, server, manners, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            address,
            authority,
            _stop: stop.drop_guard(),
        }
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate of the authority that vouches for it, as PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    server: SocketAddr,
    manners: Manners,
    stop: CancellationToken,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        let connection = async move {
            // A client that does not like the certificate goes away.
            if let (Ok(client), Ok(server)) = (
                acceptor.accept(stream).await,
                TcpStream::connect(server).await,
            ) {
                relay(client, server, manners).await;
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

/// Whichever side ends first ends both.
async fn relay(client: impl AsyncRead + AsyncWrite, server: TcpStream, manners: Manners) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => (),
        _ = copy(&mut from_server, &mut to_client) => match manners {
            Manners::Polite => _ = to_client.shutdown().await,
            Manners::Rude => _ = to_client.flush().await,
        },
    }
}
