//! Builds the node proxy from its parts and runs it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    Config,
    connection::serve,
    forward::{Entry, Forward},
    listener::{Listener, Stream, UnixSocket},
};

/// The pause after a failed accept: accept fails when the process has no file
/// descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A node proxy with bound ports that does not serve yet.
pub struct App {
    config: Config,
    forward: Arc<Forward>,
    listeners: Vec<(Listener, Arc<Entry>)>,
}

/// The state that all connections share.
#[derive(Clone)]
struct Server {
    forward: Arc<Forward>,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

impl App {
    /// Reads the credential and binds the ports. An unusable credential and a
    /// port in use fail here, not later.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        info!("starting with {config}");
        let forward = Arc::new(Forward::new(&config)?);
        let mut listeners = Vec::new();
        for (address, upstream) in config.addresses() {
            let entry = Entry::Tcp(upstream.map(Into::into));
            listeners.push((Listener::bind(address).await?, Arc::new(entry)));
        }
        if let Some(path) = &config.unix_socket {
            let socket = UnixSocket::bind(path, &config.allowed_uids)?;
            listeners.push((Listener::Unix(socket), Arc::new(Entry::Unix)));
        }
        anyhow::ensure!(
            !listeners.is_empty(),
            "nothing to listen on: give --listen or --unix-socket"
        );
        Ok(Self {
            config,
            forward,
            listeners,
        })
    }

    /// The bound TCP addresses: the one for all upstreams first, then those for
    /// single upstreams in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.listeners.iter();
        listeners
            .filter_map(|(listener, _)| listener.address())
            .collect()
    }

    /// Serves until `shutdown` is cancelled, then drains open requests.
    pub async fn run(self, shutdown: CancellationToken) {
        for address in self.addresses() {
            info!(%address, "listening on {address}");
        }
        let server = Server {
            forward: self.forward,
            connections: Arc::new(Semaphore::new(self.config.max_connections.get())),
            tasks: TaskTracker::new(),
            shutdown,
            cut: CancellationToken::new(),
        };
        let accepting = TaskTracker::new();
        for (listener, entry) in self.listeners {
            let server = server.clone();
            accepting.spawn(async move {
                let accepting = server.accept(&listener, &entry);
                server.shutdown.run_until_cancelled(accepting).await;
            });
        }
        accepting.close();
        accepting.wait().await;

        server.tasks.close();
        let drained = timeout(self.config.drain_timeout, server.tasks.wait()).await;
        if drained.is_err() {
            let connections = server.tasks.len();
            warn!(connections, "drain timed out; closing what is left");
        }
        server.cut.cancel();
        server.tasks.wait().await;
        info!("stopped");
    }
}

impl Server {
    /// Accepts connections without end.
    async fn accept(&self, listener: &Listener, entry: &Arc<Entry>) {
        // The semaphore is never closed.
        while let Ok(permit) = self.connections.clone().acquire_owned().await {
            match listener.accept().await {
                Ok(stream) => self.serve(stream, entry.clone(), permit),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// Serves a connection in a task of its own.
    fn serve(&self, stream: Stream, entry: Arc<Entry>, permit: OwnedSemaphorePermit) {
        let (forward, drain) = (self.forward.clone(), self.shutdown.clone());
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            let served = async {
                match stream {
                    Stream::Tcp(stream) => serve(stream, forward, entry, drain).await,
                    Stream::Unix(stream) => serve(stream, forward, entry, drain).await,
                }
            };
            cut.run_until_cancelled(served).await;
            drop(permit);
        });
    }
}
