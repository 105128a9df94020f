//! Accepts connections and completes TLS on them, many at a time.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Served;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes are under way at most. More callers wait.
const MOST_HANDSHAKES: usize = 256;
/// How long to wait when no file descriptor is left.
const BREATH: Duration = Duration::from_millis(100);

/// A connection on which TLS is complete.
pub(crate) type Secured = TlsStream<TcpStream>;

/// Accepts until `shutdown` is cancelled. Each connection is served with what
/// `served` is at that time.
pub(crate) fn accept(
    listener: TcpListener,
    served: watch::Receiver<Arc<Served>>,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Secured>> {
    let (secured, receiver) = mpsc::channel(1);
    let accepting = async move {
        let room = Arc::new(Semaphore::new(MOST_HANDSHAKES));
        while let Ok(place) = room.clone().acquire_owned().await {
            let stream = next(&listener).await;
            let config = served.borrow().config.clone();
            let secured = secured.clone();
            tokio::spawn(async move {
                let stream = handshake(stream, config).await;
                drop(place);
                if let Some(stream) = stream {
                    // A server that stops takes no more.
                    let _ = secured.send(Ok(stream)).await;
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

/// `None`: the caller does not come to an end, or not to a good one.
async fn handshake(stream: TcpStream, config: Arc<ServerConfig>) -> Option<Secured> {
    let peer = stream.peer_addr().ok();
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(secured)) => Some(secured),
        Ok(Err(error)) => {
            debug!(?peer, "a TLS handshake failed: {error}");
            None
        }
        Err(_) => {
            debug!(?peer, "a TLS handshake took too long");
            None
        }
    }
}
