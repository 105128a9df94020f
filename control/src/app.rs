//! Puts the control plane together, and runs it.

use std::{
    fs::DirBuilder,
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time,
};
use tokio_stream::Stream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;
use tracing::{info, warn};

use crate::{
    Catalog, Config, StoreLocation, descriptors,
    feed::Feed,
    fleet::{self, Fleet},
    grpc::{
        self, GatedRouter, Joining, Pace, Parts, Refusals, Tokens,
        accept::{self, Limits},
    },
    housekeeping::{self, Retention},
    metrics,
    oidc::SignIn,
    store::Store,
    tls::Tls,
    tokens::{self, TokenFile},
};

/// A control plane that has bound its port.
#[derive(Debug)]
pub struct App {
    config: Config,
    catalog: Catalog,
    tls: Option<Tls>,
    listener: TcpListener,
    grpc_addr: SocketAddr,
    metrics: Option<TcpListener>,
    admin_token: TokenFile,
    worker_token: TokenFile,
    sign_in: Option<SignIn>,
}

impl App {
    /// Opens the store and binds the port. What cannot work fails here.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        descriptors::raise();
        // Sets SO_REUSEADDR, so a restart has its port at once.
        let listener = TcpListener::bind(config.grpc_addr)
            .await
            .with_context(|| format!("cannot bind gRPC to {}", config.grpc_addr))?;
        let grpc_addr = listener.local_addr()?;
        let metrics = metrics_listener(&config).await?;
        make_private_directory(&config.data_dir)?;
        let store = Store::open(config.store_location(), &config.etcd, config.on_empty())
            .await
            .context("cannot open the store")?;
        let catalog = Catalog::open(store)
            .await
            .context("cannot read the store")?;
        mark_used(&config);
        let rotated = catalog.rotate_signing_keys(SystemTime::now()).await;
        rotated.context("cannot make a signing key")?;
        let token = |own: &Option<PathBuf>, name: &str| {
            TokenFile::read_or_create(own.as_ref().unwrap_or(&config.data_dir.join(name)))
        };
        let admin_token = token(&config.admin_token_file, "admin-token")?;
        let worker_token = token(&config.worker_token_file, "worker-token")?;
        let tls = match config.serves_tls() {
            true => Some(Tls::open(&config, grpc_addr, &catalog).await?),
            false => None,
        };
        if config.tls_client_ca_file.is_some() && config.tls_client_names.is_empty() {
            warn!(
                "every certificate of --tls-client-ca-file is taken for that of a worker: say by --tls-client-name which names workers have"
            );
        }
        if let Some(tls) = &tls {
            tls.publish()?;
            if let Some(path) = &config.join_token_file {
                let secret = tokens::join_secret(path, &tls.fingerprint())?;
                let taken = catalog.take_join_secret(&secret).await;
                taken.context("cannot keep the join token")?;
            }
        }
        let sign_in = SignIn::new(config.oidc.clone())?;
        Ok(Self {
            config,
            catalog,
            tls,
            listener,
            grpc_addr,
            metrics,
            admin_token,
            worker_token,
            sign_in,
        })
    }

    /// Where it serves gRPC. Differs from the setting when that asked for
    /// port 0.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// What the port's certificate is rooted in, for callers to pin. `None`:
    /// the port serves plain text.
    pub fn fingerprint(&self) -> Option<String> {
        self.tls.as_ref().map(Tls::fingerprint)
    }

    /// The file that holds the admin token, mode 0600.
    pub fn admin_token_file(&self) -> &Path {
        &self.admin_token.path
    }

    /// The file that holds the worker token, mode 0600.
    pub fn worker_token_file(&self) -> &Path {
        &self.worker_token.path
    }

    /// The admin token if this start made it: to be shown once.
    pub fn new_admin_token(&self) -> Option<&str> {
        let token = &self.admin_token;
        token.is_new.then(|| token.token.expose())
    }

    /// The policy, for a program that runs the control plane in its own
    /// process.
    pub fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }

    /// Serves until `shutdown` is cancelled, then drains.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let tasks = TaskTracker::new();
        // Also ends the tasks when the server fails.
        let stopping = shutdown.child_token();
        let retention = Retention {
            recipes: self.config.recipe_retention,
            audit: self.config.audit_retention,
        };
        let house = housekeeping::run(self.catalog.clone(), retention, stopping.clone());
        tasks.spawn(house);
        if let Some(listener) = self.metrics {
            let serving = metrics::serve(listener, self.catalog.clone(), stopping.clone());
            tasks.spawn(serving);
        }
        let fleet = Fleet::default();
        let announcing = fleet::announce(fleet.clone(), self.catalog.clone(), stopping.clone());
        tasks.spawn(announcing);
        let parts = Parts {
            feed: Feed::new(&self.catalog),
            catalog: self.catalog,
            fleet,
            joining: self.tls.as_ref().map(|tls| joining(tls, &self.config)),
            registry_url: self.config.registry_url,
            shutdown: stopping.clone(),
            streams: tasks.clone(),
            refusals: Refusals::default(),
            pace: Pace::new(
                self.config.max_snapshots,
                self.config.max_stream_age,
                self.config.drain_timeout,
            ),
        };
        let tokens = Tokens {
            admin: self.admin_token,
            worker: self.worker_token,
            looked: Instant::now(),
        };
        let router = grpc::router(parts, tokens, self.sign_in).await;
        let drain_timeout = self.config.drain_timeout;
        let limits = Limits {
            connections: self.config.max_connections,
            of_one: self.config.max_connections_per_address,
        };
        let served = match self.tls {
            None => {
                let incoming = accept::plain(self.listener, limits, stopping.clone());
                serve(router, incoming, &stopping, drain_timeout).await
            }
            Some(tls) => {
                let served = tls.current();
                let incoming = accept::secured(self.listener, limits, served, stopping.clone());
                tasks.spawn(tls.keep_fresh(stopping.clone()));
                serve(router, incoming, &stopping, drain_timeout).await
            }
        };
        stopping.cancel();
        tasks.close();
        tasks.wait().await;
        served
    }
}

/// The rules by which workers join.
fn joining(tls: &Tls, config: &Config) -> Joining {
    Joining {
        served: tls.current(),
        lifetime: config.worker_certificate_lifetime,
        takes_foreign: config.tls_client_ca_file.is_some(),
        foreign_names: config.tls_client_names.clone(),
    }
}

async fn metrics_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = config.metrics_addr else {
        return Ok(None);
    };
    let bound = TcpListener::bind(addr).await;
    let bound = bound.with_context(|| format!("cannot bind metrics to {addr}"))?;
    Ok(Some(bound))
}

/// Notes that there is a store now, so that one that is empty at the next start
/// is noticed. What is in memory is always empty.
fn mark_used(config: &Config) {
    let (location, mark) = (config.store_location(), config.used_mark());
    if location != StoreLocation::Memory
        && !mark.exists()
        && let Err(error) = tokens::write_private(&mark, &location.to_string())
    {
        warn!("cannot write {}: {error}", mark.display());
    }
}

fn make_private_directory(path: &Path) -> anyhow::Result<()> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the data directory {}", path.display()))
}

/// The drain is bounded here: tonic waits for its last connection for ever.
async fn serve<C>(
    router: GatedRouter,
    incoming: impl Stream<Item = io::Result<C>>,
    shutdown: &CancellationToken,
    drain_timeout: Duration,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let server = router.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::pin!(server);
    tokio::select! {
        result = &mut server => return result.context("the gRPC server failed"),
        () = shutdown.cancelled() => info!("draining"),
    }
    match time::timeout(drain_timeout, server).await {
        Ok(result) => result.context("the gRPC server failed while draining"),
        Err(_) => {
            warn!("drain timed out after {drain_timeout:?}; closing what is left");
            Ok(())
        }
    }
}
