//! Opens connections: reads the header of a proxy and does the TLS handshake,
//! before HTTP. Both have a deadline, and the number of concurrent handshakes
//! is limited.

use std::{
    io::{self, ErrorKind},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    CROWDED, Limits, Port,
    addresses::{Addresses, Seat},
    proxy_protocol::{self, NoHeader, ProxyHeader},
    say,
    silent::{EvictableConnection, SilentConnections},
    stall::Stalling,
    tls::Tls,
    transport::Transport,
    unfinished::Unfinished,
};
use crate::{auth::ClientCertificate, peer::Secured};

/// The timeout from accept to the first byte of HTTP.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// The minimum wait for a handshake permit before a slow handshake is evicted.
const LEAST_GRACE: Duration = Duration::from_millis(20);
/// The interval of warnings about proxies that send no header.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// The record type of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// The answer to a client that sends plain text to a TLS port.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: application/json\r\n\
    connection: close\r\n\r\n\
    {\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"this port speaks TLS: use https\"}]}\n";
/// The answer to a trusted proxy that sends no header.
const NO_HEADER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: application/json\r\n\
    connection: close\r\n\r\n\
    {\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"a connection of a trusted proxy begins with a header of the PROXY protocol here: have the proxy send it, or start the worker without --proxy-protocol\"}]}\n";

/// Opens connections.
#[derive(Debug)]
pub(super) struct Opener {
    tls: Option<Arc<Tls>>,
    has_proxy_protocol: bool,
    limits: Limits,
    addresses: Addresses,
    handshakes: Arc<Semaphore>,
    /// The incomplete handshakes.
    unfinished: SilentConnections,
    warned: Mutex<Option<Instant>>,
}

/// A connection, ready for HTTP.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) transport: Transport,
    /// The client's address: the proxy's header, if there is one, names it.
    pub(super) client: IpAddr,
    /// The connection's security. `None`: plain text.
    pub(super) secured: Option<Secured>,
    /// The progress of the connection's answers.
    pub(super) unfinished: Unfinished,
    /// The client's place among the connections of its address, if a proxy
    /// named the address.
    pub(super) seat: Option<Seat>,
}

/// The reason that a connection is not opened.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    #[error(transparent)]
    NoHeader(#[from] NoHeader),
    #[error("its client's address has too many connections")]
    Crowded,
    #[error("it does not speak TLS")]
    NotTls,
    #[error("it ended before its TLS handshake was complete: {0}")]
    Broken(#[from] io::Error),
    #[error("others wait for their TLS handshake")]
    Evicted,
}

impl Opener {
    /// Opens the connections of `port`. Counts clients behind proxies in
    /// `addresses`.
    pub(super) fn new(port: &Port, limits: &Limits, addresses: Addresses) -> Self {
        Self {
            tls: port.tls.clone(),
            has_proxy_protocol: port.has_proxy_protocol,
            limits: limits.clone(),
            addresses,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            unfinished: SilentConnections::default(),
            warned: Mutex::default(),
        }
    }

    /// Opens a connection from `address`. `None`: the connection failed, and
    /// the failure is logged.
    pub(super) async fn open(&self, stream: TcpStream, address: IpAddr) -> Option<Opened> {
        if self.tls.is_none() && !self.has_proxy_protocol {
            return Some(self.plain(stream, (address, None), false));
        }
        let limit = OPENING_TIMEOUT.min(self.limits.header_timeout);
        match timeout(limit, self.opened(stream, address)).await {
            Ok(Ok(opened)) => return Some(opened),
            Ok(Err(NotOpened::NoHeader(error))) if self.is_to_be_told(&error) => {
                warn!("refused a connection of the trusted proxy {address}: {error}");
            }
            Ok(Err(error)) => debug!(%address, "a connection was not opened: {error}"),
            Err(_) => debug!(%address, "a connection took too long to be opened"),
        }
        None
    }

    async fn opened(&self, mut stream: TcpStream, address: IpAddr) -> Result<Opened, NotOpened> {
        let header = match self.header(&mut stream, address).await {
            Err(NoHeader::Missing) => {
                self.refuse(stream, NO_HEADER);
                return Err(NoHeader::Missing.into());
            }
            header => header?,
        };
        let client = header.client.unwrap_or(address);
        let seat = match header.client {
            Some(client) => super::seat(&self.addresses, &self.limits, client),
            None => Ok(None),
        };
        let Ok(seat) = seat else {
            self.refuse(stream, CROWDED);
            return Err(NotOpened::Crowded);
        };
        match &self.tls {
            None => Ok(self.plain(stream, (client, seat), header.is_secure)),
            Some(tls) => self.handshake(tls, stream, (client, seat)).await,
        }
    }

    /// Reads the header of a trusted proxy. Empty for other addresses.
    async fn header(
        &self,
        stream: &mut TcpStream,
        address: IpAddr,
    ) -> Result<ProxyHeader, NoHeader> {
        match self.has_proxy_protocol && self.limits.proxies.trusts(address) {
            true => proxy_protocol::read(stream).await,
            false => Ok(ProxyHeader::default()),
        }
    }

    fn plain(
        &self,
        stream: TcpStream,
        (client, seat): (IpAddr, Option<Seat>),
        is_secure: bool,
    ) -> Opened {
        let unfinished = Unfinished::default();
        let stream = Stalling::new(stream, self.limits.stall_timeout, unfinished.clone());
        Opened {
            transport: Transport::Plain(stream),
            client,
            secured: is_secure.then(Secured::default),
            unfinished,
            seat,
        }
    }

    async fn handshake(
        &self,
        tls: &Tls,
        stream: TcpStream,
        (client, seat): (IpAddr, Option<Seat>),
    ) -> Result<Opened, NotOpened> {
        // A silent connection takes no handshake permit.
        let mut first = [0];
        match (stream.peek(&mut first).await?, first[0]) {
            (0, _) => return Err(NotOpened::Broken(ErrorKind::UnexpectedEof.into())),
            (_, HANDSHAKE) => {}
            (_, letter) => {
                if letter.is_ascii_uppercase() {
                    say(stream, NOT_TLS);
                }
                return Err(NotOpened::NotTls);
            }
        }
        let turn = self.turn(client).await;
        let unfinished = Unfinished::default();
        let stream = Stalling::new(stream, self.limits.stall_timeout, unfinished.clone());
        let accepting = TlsAcceptor::from(tls.config()).accept(stream);
        let accepted = turn.evicted.run_until_cancelled(accepting).await;
        let stream = accepted.ok_or(NotOpened::Evicted)??;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown.and_then(<[_]>::first);
        let certificate = certificate.map(|it| Arc::new(ClientCertificate::read(it)));
        Ok(Opened {
            transport: Transport::Tls(Box::new(stream)),
            client,
            secured: Some(Secured { certificate }),
            unfinished,
            seat,
        })
    }

    /// Acquires a handshake permit. If there is none, evicts the oldest slow
    /// handshake.
    async fn turn(&self, client: IpAddr) -> EvictableConnection {
        let grace = self.limits.silent_grace;
        let places = loop {
            let turn = self.handshakes.clone().acquire_owned();
            // The semaphore is never closed.
            if let Ok(Ok(turn)) = timeout(grace.max(LEAST_GRACE), turn).await {
                break (turn, None);
            }
            if let Some(places) = self.unfinished.evict(None, grace) {
                break places;
            }
        };
        self.unfinished.hold(client, places)
    }

    /// Sends the reason in plain text. A port with TLS sends nothing.
    fn refuse(&self, stream: TcpStream, answer: &[u8]) {
        if self.tls.is_none() {
            say(stream, answer);
        }
    }

    /// True if a warning is due, at most once per [`WARN_INTERVAL`]: proxies
    /// connect often.
    fn is_to_be_told(&self, error: &NoHeader) -> bool {
        // Health checks connect and disconnect.
        if let NoHeader::Ended(_) = error {
            return false;
        }
        let (mut warned, now) = (lock(&self.warned), Instant::now());
        let is_due = warned.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL);
        if is_due {
            *warned = Some(now);
        }
        is_due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
