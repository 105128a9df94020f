//! Accepts connections and serves HTTP on them, within limits.
//!
//! HTTP/1.1 and HTTP/2, in plain text or over TLS. A port without TLS answers a
//! TLS hello with hyper's plain-text 400: clients need it to fall back to plain
//! HTTP.

use std::{io::Write as _, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use self::{
    addresses::{Addresses, Seat},
    opening::Opener,
    silent::SilentConnections,
};
use crate::peer::Proxies;

mod addresses;
mod connection;
mod opening;
mod proxy_protocol;
mod silent;
mod stall;
mod tls;
mod transport;
mod unfinished;
mod unread;

pub(crate) use self::tls::Tls;

/// How long to wait after a failed accept: it fails when the process has run
/// out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long to wait for a free place before a silent connection is ended.
const EVICT_AGAIN: Duration = Duration::from_millis(20);
/// The time for a client's first request after shutdown begins, its handshake
/// included.
const ABOUT_TO_ASK: Duration = Duration::from_millis(500);
/// The answer to a client whose address has too many connections.
const CROWDED: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: application/json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\r\n\
    {\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"this address has too many connections; close some\"}]}\n";

/// What clients may use up.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections at a time. More wait in the kernel.
    pub(crate) connections: usize,
    /// Connections of one address at a time. More are refused.
    pub(crate) connections_per_address: usize,
    /// Whose connections are those of many clients, and not counted so.
    pub(crate) proxies: Proxies,
    /// How long a request's head may take, and how long an idle connection
    /// is kept.
    pub(crate) header_timeout: Duration,
    /// How long a client may read nothing of what is written to it.
    pub(crate) stall_timeout: Duration,
    /// Maximum number of concurrent TLS handshakes. Further ones wait.
    pub(crate) handshakes: usize,
    /// How long a connection may be silent where others wait for its place.
    pub(crate) silent_grace: Duration,
    /// How long open requests may take at shutdown.
    pub(crate) drain_timeout: Duration,
}

#[cfg(test)]
impl Limits {
    /// Limits that no test meets that is not about them.
    pub(crate) fn for_tests() -> Self {
        Self {
            connections: 100,
            connections_per_address: 100,
            proxies: Proxies::default(),
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            handshakes: 100,
            silent_grace: Duration::from_secs(10),
            drain_timeout: Duration::ZERO,
        }
    }
}

/// A listening port, with the protocols before HTTP: PROXY protocol and TLS.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    /// The TLS configuration. `None`: plain text.
    pub(crate) tls: Option<Arc<Tls>>,
    /// True if connections of trusted proxies begin with a PROXY protocol
    /// header.
    pub(crate) has_proxy_protocol: bool,
}

impl From<TcpListener> for Port {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            has_proxy_protocol: false,
        }
    }
}

/// The places of a connection among all that are served at a time, and among
/// those of its address.
type Places = (OwnedSemaphorePermit, Option<Seat>);

/// A connection, where it is from, and its places.
struct Accepted {
    stream: TcpStream,
    address: IpAddr,
    places: Places,
}

/// Where connections come in.
struct Door {
    port: Port,
    places: Arc<Semaphore>,
    addresses: Addresses,
    silent: SilentConnections,
    limits: Limits,
}

/// Answers requests on `port` by `service` until `shutdown` is cancelled, then
/// drains open requests.
pub(crate) async fn serve<S, F, B>(
    port: impl Into<Port>,
    limits: Limits,
    service: S,
    shutdown: CancellationToken,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + Unpin + 'static,
{
    let (tasks, drain, cut) = (
        TaskTracker::new(),
        CancellationToken::new(),
        CancellationToken::new(),
    );
    let port = port.into();
    let builder = Arc::new(connection::builder(&limits));
    let (stall, head) = (limits.stall_timeout, limits.header_timeout);
    let drain_timeout = limits.drain_timeout;
    let addresses = Addresses::default();
    let opener = Arc::new(Opener::new(&port, &limits, addresses.clone()));
    let door = Door::new(port, limits, addresses);
    let silent = door.silent.clone();
    let start = |accepted: Accepted| {
        let (builder, service, opener) = (builder.clone(), service.clone(), opener.clone());
        let (drain, cut) = (drain.clone(), cut.clone());
        let held = silent.hold(accepted.address, accepted.places);
        tasks.spawn(async move {
            let service = |request| {
                held.spoke();
                service(request)
            };
            let served = async {
                let too_late = async {
                    drain.cancelled().await;
                    sleep(ABOUT_TO_ASK).await;
                };
                let opened = select! {
                    opened = opener.open(accepted.stream, accepted.address) => opened,
                    () = too_late => None,
                };
                if let Some(opened) = opened {
                    connection::serve(opened, &builder, service, (head, stall), drain).await;
                }
            };
            let served = held.evicted.run_until_cancelled(served);
            cut.run_until_cancelled(served).await;
        });
    };

    while let Some(accepted) = shutdown.run_until_cancelled(door.accept()).await {
        start(accepted);
    }
    // Who has connected by now has not been told to go elsewhere.
    while let Some(accepted) = door.accept().now_or_never() {
        start(accepted);
    }
    drop(door);

    drain.cancel();
    tasks.close();
    if timeout(drain_timeout, tasks.wait()).await.is_err() {
        let open = tasks.len();
        warn!(connections = open, "drain timed out; closing what is left");
    }
    cut.cancel();
    tasks.wait().await;
}

impl Door {
    fn new(port: Port, limits: Limits, addresses: Addresses) -> Self {
        let connections = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            port,
            places: Arc::new(Semaphore::new(connections)),
            addresses,
            silent: SilentConnections::default(),
            limits,
        }
    }

    async fn accept(&self) -> Accepted {
        loop {
            let (stream, from) = match self.port.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let address = from.ip().to_canonical();
            let Ok(places) = self.places(address).await else {
                debug!("refused a connection: its address has too many");
                if self.port.tls.is_none() {
                    say(stream, CROWDED);
                }
                continue;
            };
            // Only delays answers if it fails.
            stream.set_nodelay(true).ok();
            return Accepted {
                stream,
                address,
                places,
            };
        }
    }

    /// The places of a connection from `address`: free ones, or those of a
    /// silent connection. Waits where all are taken.
    async fn places(&self, address: IpAddr) -> Result<Places, Crowded> {
        let grace = self.limits.silent_grace;
        let Ok(seat) = seat(&self.addresses, &self.limits, address) else {
            return self.silent.evict(Some(address), grace).ok_or(Crowded);
        };
        loop {
            let place = self.places.clone().acquire_owned();
            // The semaphore is never closed.
            if let Ok(Ok(place)) = timeout(EVICT_AGAIN, place).await {
                return Ok((place, seat));
            }
            if let Some((place, _)) = self.silent.evict(None, grace) {
                return Ok((place, seat));
            }
        }
    }
}

/// An address has too many connections.
struct Crowded;

/// A place among the connections of `address`. `None` for a trusted proxy.
fn seat(addresses: &Addresses, limits: &Limits, address: IpAddr) -> Result<Option<Seat>, Crowded> {
    if limits.proxies.trusts(address) {
        return Ok(None);
    }
    let seat = addresses.seat(address, limits.connections_per_address);
    seat.map(Some).ok_or(Crowded)
}

/// Sends an answer in plain text, if the client still reads, and closes.
fn say(stream: TcpStream, answer: &[u8]) {
    if let Ok(mut stream) = stream.into_std() {
        stream.write_all(answer).ok();
    }
}

#[cfg(test)]
mod tests;
