//! TLS in front of a server that has none.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{authority::Authority, parts::https_listener};

/// A front on a free port, until it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    authority: Authority,
    spoken: Spoken,
    _stop: DropGuard,
}

/// The protocol that was agreed on, for each connection so far.
type Spoken = Arc<Mutex<Vec<String>>>;

/// How a front ends a connection when its server has ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// With `close_notify`, as TLS has it.
    Polite,
    /// Without `close_notify`, as if the wire were cut.
    Rude,
}

impl TlsFront {
    /// Starts one before `server`.
    pub async fn before(server: SocketAddr) -> Self {
        Self::before_at(Ipv4Addr::LOCALHOST, server).await
    }

    /// Starts a front at another address of this machine, with a certificate
    /// for it.
    pub async fn before_at(ip: Ipv4Addr, server: SocketAddr) -> Self {
        Self::start(ip, server, &[], Manners::Polite).await
    }

    /// Starts one that offers HTTP/2, and HTTP/1.1, which `server` must both
    /// speak.
    pub async fn with_http2_before(server: SocketAddr) -> Self {
        let protocols = ["h2", "http/1.1"];
        Self::start(Ipv4Addr::LOCALHOST, server, &protocols, Manners::Polite).await
    }

    /// Starts one that ends no connection as TLS has it: what is cut off looks
    /// like what is at its end, to those who do not look.
    pub async fn cutting_before(server: SocketAddr) -> Self {
        Self::start(Ipv4Addr::LOCALHOST, server, &[], Manners::Rude).await
    }

    /// Starts a front at port 443 of an unused address, for the host `name`.
    /// Needs root.
    pub async fn of_host(name: &str, server: SocketAddr) -> Self {
        let (listener, _) = https_listener().await;
        Self::serve(name, listener, server, &[], Manners::Polite)
    }

    async fn start(ip: Ipv4Addr, server: SocketAddr, protocols: &[&str], manners: Manners) -> Self {
        let listener = TcpListener::bind((ip, 0)).await;
        let listener = listener.expect("the address has a free port");
        Self::serve(&ip.to_string(), listener, server, protocols, manners)
    }

    fn serve(
        name: &str,
        listener: TcpListener,
        server: SocketAddr,
        protocols: &[&str],
        manners: Manners,
    ) -> Self {
        let authority = Authority::new();
        let identity = authority.identity(name);
        let acceptor = TlsAcceptor::from(identity.server_of(protocols));
        let spoken = Spoken::default();
        let address = listener.local_addr().expect("a bound port has an address");
        let stop = CancellationToken::new();
        let front = Front {
            acceptor,
            server,
            manners,
            spoken: spoken.clone(),
        };
        let accepting = accept(listener, front, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            address,
            authority,
            spoken,
            _stop: stop.drop_guard(),
        }
    }

    /// Its URL, without a path.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The front's address.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The protocols of its connections so far, as ALPN names them: empty where
    /// none is offered.
    pub fn spoken(&self) -> Vec<String> {
        let spoken = self.spoken.lock();
        spoken.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate of the authority that vouches for it, as PEM.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }
}

/// What a connection needs to know.
#[derive(Clone)]
struct Front {
    acceptor: TlsAcceptor,
    server: SocketAddr,
    manners: Manners,
    spoken: Spoken,
}

async fn accept(listener: TcpListener, front: Front, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = front.clone().connection(stream);
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

impl Front {
    async fn connection(self, stream: TcpStream) {
        // A client that does not like the certificate goes away.
        let Ok(client) = self.acceptor.accept(stream).await else {
            return;
        };
        let agreed = client.get_ref().1.alpn_protocol().unwrap_or_default();
        let agreed = String::from_utf8_lossy(agreed).into_owned();
        let spoken = self.spoken.lock();
        spoken.unwrap_or_else(PoisonError::into_inner).push(agreed);
        if let Ok(server) = TcpStream::connect(self.server).await {
            relay(client, server, self.manners).await;
        }
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
