//! Accepts connections, with bounds for those that have not shown yet that a
//! caller is behind them, and for all together.
//!
//! A connection that sends nothing takes no one's place: it has a deadline, and
//! when there are too many that are not ready, the oldest of the address that
//! has the most makes room.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

use crate::tls::Served;

/// How long a connection may take until it is ready for calls.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are not ready at a time, in all and of one address.
const MOST_UNREADY: usize = 1_024;
const MOST_UNREADY_OF_ONE: usize = 256;
/// How long to wait when no file descriptor is left.
const BREATH: Duration = Duration::from_millis(100);
/// How often refused connections are warned of.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// What an HTTP/2 connection begins with has so many bytes.
const PREFACE: usize = 24;
/// How often it is looked whether those are there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How many connections may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In all.
    pub(crate) connections: usize,
    /// From one address.
    pub(crate) of_one: usize,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    _permit: ConnectionPermit,
}

/// A connection on which TLS is complete.
pub(crate) type Secured = TlsStream<Counted>;

/// Accepts until `shutdown` is cancelled. Each connection is served with what
/// `served` is at that time.
pub(crate) fn secured(
    listener: TcpListener,
    limits: Limits,
    served: watch::Receiver<Arc<Served>>,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Secured>> {
    accept(listener, limits, shutdown, move |stream| {
        let config = served.borrow().config.clone();
        async move { TlsAcceptor::from(config).accept(stream).await }
    })
}

/// The same without TLS.
pub(crate) fn plain(
    listener: TcpListener,
    limits: Limits,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Counted>> {
    accept(listener, limits, shutdown, async |stream: Counted| {
        let mut preface = [0; PREFACE];
        loop {
            match stream.stream.peek(&mut preface).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                PREFACE => return Ok(stream),
                _ => sleep(LOOK_INTERVAL).await,
            }
        }
    })
}

fn accept<C, F>(
    listener: TcpListener,
    limits: Limits,
    shutdown: CancellationToken,
    ready: impl Fn(Counted) -> F + Send + Sync + 'static,
) -> ReceiverStream<io::Result<C>>
where
    C: Send + 'static,
    F: Future<Output = io::Result<C>> + Send + 'static,
{
    let (made, receiver) = mpsc::channel(1);
    let accepting = async move {
        let limiter = ConnectionLimiter::new(limits);
        loop {
            let stream = next(&listener).await;
            let Some((stream, evicted)) = limiter.admit(stream) else {
                continue;
            };
            let (making, made) = (ready(stream), made.clone());
            tokio::spawn(async move {
                let made_ready = tokio::select! {
                    made_ready = timeout(READY_TIMEOUT, making) => made_ready,
                    _ = evicted => return,
                };
                match made_ready {
                    // A server that stops takes no more.
                    Ok(Ok(stream)) => drop(made.send(Ok(stream)).await),
                    Ok(Err(error)) => debug!("a connection did not become ready: {error}"),
                    Err(_) => debug!("a connection took too long to become ready"),
                }
            });
        }
    };
    tokio::spawn(async move { shutdown.run_until_cancelled(accepting).await });
    ReceiverStream::new(receiver)
}

async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                sleep(BREATH).await;
            }
        }
    }
}

/// Counts the connections. Clones share it.
#[derive(Clone, Debug)]
struct ConnectionLimiter {
    limits: Limits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
    /// The oldest first. Those that are ready are still in it, until they are
    /// the oldest.
    unready: VecDeque<(IpAddr, oneshot::Sender<()>)>,
    refused: usize,
    warned: Option<Instant>,
}

/// One open connection, counted until this is dropped.
#[derive(Debug)]
struct ConnectionPermit {
    limiter: ConnectionLimiter,
    address: IpAddr,
}

impl ConnectionLimiter {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Arc::default(),
        }
    }

    /// Takes a connection in, if there is room. The receiver ends when it has to
    /// make room for others.
    fn admit(&self, stream: TcpStream) -> Option<(Counted, oneshot::Receiver<()>)> {
        let address = stream.peer_addr().ok()?.ip();
        let _ = stream.set_nodelay(true);
        let mut state = self.state();
        let of_one = state.by_address.get(&address).copied().unwrap_or_default();
        if state.open >= self.limits.connections || of_one >= self.limits.of_one {
            state.refuse(address);
            return None;
        }
        state.make_room(address);
        state.open += 1;
        *state.by_address.entry(address).or_default() += 1;
        let (evict, evicted) = oneshot::channel();
        state.unready.push_back((address, evict));
        let permit = ConnectionPermit {
            limiter: self.clone(),
            address,
        };
        let counted = Counted {
            stream,
            _permit: permit,
        };
        Some((counted, evicted))
    }

    /// Whole even after a panic: counts only change together.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Has the oldest of those that are not ready end, if there are too many.
    fn make_room(&mut self, address: IpAddr) {
        // One whose receiver is gone is ready, or has ended.
        self.unready.retain(|(_, evict)| !evict.is_closed());
        let own = |(of, _): &&(IpAddr, _)| *of == address;
        let crowded = self.unready.iter().filter(own).count() >= MOST_UNREADY_OF_ONE;
        let oldest = match crowded {
            true => self.unready.iter().position(|it| it.0 == address),
            false => (self.unready.len() >= MOST_UNREADY).then(|| self.oldest_of_most()),
        };
        if let Some((from, evict)) = oldest.and_then(|at| self.unready.remove(at)) {
            let _ = evict.send(());
            self.refuse(from);
        }
    }

    /// The place of the oldest of the address that has the most.
    fn oldest_of_most(&self) -> usize {
        let mut counts = HashMap::<IpAddr, usize>::new();
        for (address, _) in &self.unready {
            *counts.entry(*address).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let is_it = |(of, _): &(IpAddr, _)| most.is_some_and(|(address, _)| address == *of);
        self.unready.iter().position(is_it).unwrap_or_default()
    }

    fn refuse(&mut self, address: IpAddr) {
        self.refused += 1;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            let (refused, open) = (self.refused, self.open);
            warn!(
                "closed {refused} connections, the last of {address}: {open} are open, and {} not \
                 ready for calls",
                self.unready.len()
            );
            self.refused = 0;
            self.warned = Some(Instant::now());
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.open -= 1;
        if let Some(count) = state.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&self.address);
            }
        }
    }
}

impl Connected for Counted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_stream::StreamExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const HELLO: &[u8; PREFACE] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    async fn listener() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[tokio::test]
    async fn a_caller_comes_through_however_many_connections_say_nothing() {
        let (listener, addr) = listener().await;
        let limits = Limits {
            connections: 5_000,
            of_one: 5_000,
        };
        let mut accepted = plain(listener, limits, CancellationToken::new());
        let mut silent = Vec::new();
        for _ in 0..MOST_UNREADY_OF_ONE + 10 {
            silent.push(TcpStream::connect(addr).await.unwrap());
        }

        let mut caller = TcpStream::connect(addr).await.unwrap();
        caller.write_all(HELLO).await.unwrap();

        let ready = timeout(Duration::from_secs(5), accepted.next()).await;
        assert!(ready.unwrap().unwrap().is_ok());
        let closed = timeout(PATIENCE, silent[0].read(&mut [0])).await;
        assert!(matches!(closed.unwrap(), Ok(0) | Err(_)), "the oldest ends");
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_closed_until_one_ends() {
        let (listener, addr) = listener().await;
        let limits = Limits {
            connections: 2,
            of_one: 1,
        };
        let mut accepted = plain(listener, limits, CancellationToken::new());
        let mut first = TcpStream::connect(addr).await.unwrap();
        first.write_all(HELLO).await.unwrap();
        let ready = timeout(PATIENCE, accepted.next()).await.unwrap().unwrap();

        let mut second = TcpStream::connect(addr).await.unwrap();
        let closed = timeout(PATIENCE, second.read(&mut [0])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)));

        drop(ready);
        let mut third = TcpStream::connect(addr).await.unwrap();
        third.write_all(HELLO).await.unwrap();
        assert!(timeout(PATIENCE, accepted.next()).await.is_ok());
    }
}
