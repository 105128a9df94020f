//! Puts the worker together, and runs it.

use std::{future::ready, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use hyper::body::Incoming;
use prometheus_client::registry::Registry as Counters;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Config,
    admin::Admin,
    auth::{self, Gate},
    config::ByteSize,
    descriptors::Descriptors,
    identity::Identity,
    metrics::StateMetrics,
    peer::Proxies,
    recipes::Recipes,
    registry::{self, Registry},
    server::{self, Limits, Port, Tls},
    snapshot::Current,
    sync::{Introduction, Keeper, Link, SealedFile, Sync, Unusable},
    upstream::{BlobDirectory, ProxyEnvironment, Puller, Roster, Settings},
};

/// How long a connection may be silent where others wait for its place: clients
/// say something as soon as they are connected.
const SILENT_GRACE: Duration = Duration::from_secs(1);
/// The maximum number of concurrent TLS handshakes: each takes some 20 KiB.
const HANDSHAKES: usize = 1024;
/// The part of the cache that holds answers: one of four. Sources have the
/// rest.
const ANSWERS_SHARE: u64 = 4;

/// A worker that has bound its ports, but serves nothing yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    introduction: Introduction,
    registry: (TcpListener, SocketAddr),
    admin: (TcpListener, SocketAddr),
    keeper: Option<SealedFile>,
    tls: Option<Arc<Tls>>,
    descriptors: Descriptors,
}

impl App {
    /// Binds the ports. An address in use fails here, not later.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let descriptors = Descriptors::raise();
        let registry = listen(config.registry_addr).await?;
        let admin = listen(config.admin_addr).await?;
        let worker_id = match &config.worker_id {
            Some(id) => id.clone(),
            None => default_id(registry.1).await,
        };
        let introduction = Introduction {
            identity: Identity::new(&config, &worker_id)?,
            registry_address: registry.1.to_string(),
            worker_id,
        };
        Ok(Self {
            keeper: snapshot_file(&config)?,
            tls: tls(&config)?,
            config,
            introduction,
            registry,
            admin,
            descriptors,
        })
    }

    /// Where it serves the registry API. Differs from the setting when that
    /// asks for port 0.
    pub fn registry_addr(&self) -> SocketAddr {
        self.registry.1
    }

    /// Where it serves health and metrics: `/readyz` says when there is a
    /// policy to serve by.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.1
    }

    /// Serves until `shutdown` is cancelled, then drains. The policy is
    /// followed, and health and metrics are served, until the last request has
    /// ended.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let id = &self.introduction.worker_id;
        info!(worker.id = id, "starting {id} with {}", self.config);
        let (registry_addr, admin_addr) = (self.registry.1, self.admin.1);
        info!(%registry_addr, %admin_addr, "serving on {registry_addr}");

        let shortage = self.descriptors.shortage(self.config.max_connections);
        shortage.iter().for_each(|it| warn!("{it}"));
        let (limits, current) = (
            limits(&self.config, self.descriptors),
            Arc::new(Current::new(self.config.max_policy_age)),
        );
        let link = Arc::new(Link::default());
        let recipes = Recipes::new(current.clone(), link.clone());
        let registry = Arc::new(new_registry(
            &self.config,
            &current,
            recipes,
            self.descriptors,
        )?);
        let admin = Arc::new(Admin {
            counters: counters(&registry, current.clone()),
            shutdown: shutdown.clone(),
            current: current.clone(),
            shortage,
        });
        let (stop, drained) = (CancellationToken::new(), CancellationToken::new());
        // Nothing outlives this call, even if it is dropped.
        let _guard = drained.clone().drop_guard();
        let renewing = self.introduction.identity.clone();
        tokio::spawn(renewing.keep_fresh(drained.clone()));
        let keeper = self.keeper.map(|file| Keeper::new(file, current.clone()));
        let sync = Sync::new(self.introduction, current, link, keeper).run(drained.clone());
        let sync = tokio::spawn(sync);
        let admin = tokio::spawn(serve_admin(
            self.admin.0,
            Limits {
                connections: self.descriptors.admins(),
                ..limits.clone()
            },
            admin,
            drained.clone(),
        ));
        let answer = move |request: http::Request<Incoming>| {
            let registry = registry.clone();
            async move { registry.answer(registry::read(request).await).await }
        };
        let told = async {
            shutdown.cancelled().await;
            sleep(self.config.drain_delay).await;
            stop.cancel();
        };
        let has_proxy_protocol = self.config.proxy_protocol;
        let port = port(self.registry.0, self.tls, has_proxy_protocol, &drained);
        let served = server::serve(port, limits, answer, stop.clone());
        tokio::join!(told, served);
        drained.cancel();
        sync.await.context("following the policy failed")?;
        admin.await.context("serving health and metrics failed")?;
        info!("stopped");
        Ok(())
    }
}

fn snapshot_file(config: &Config) -> Result<Option<SealedFile>, Unusable> {
    let files = config.snapshot_file.as_ref();
    let files = files.zip(config.snapshot_key_file.as_ref());
    files
        .map(|(file, key)| SealedFile::open(file, key))
        .transpose()
}

fn tls(config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    let tls = Tls::open(&config.tls);
    let tls = tls.context("cannot serve the registry API over TLS")?;
    Ok(tls.map(Arc::new))
}

/// The port of the registry API. A task reloads its certificate until
/// `shutdown` is cancelled.
fn port(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    has_proxy_protocol: bool,
    shutdown: &CancellationToken,
) -> Port {
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().keep_fresh(shutdown.clone()));
    }
    Port {
        listener,
        tls,
        has_proxy_protocol,
    }
}

async fn serve_admin(
    listener: TcpListener,
    limits: Limits,
    admin: Arc<Admin>,
    shutdown: CancellationToken,
) {
    let answer = move |request: http::Request<Incoming>| ready(admin.answer(&request));
    server::serve(listener, limits, answer, shutdown).await;
}

async fn listen(addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await;
    let listener = listener.with_context(|| format!("cannot bind {addr}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// The host's name and where the registry API is: the same after a restart,
/// and another for each worker of a host.
async fn default_id(registry: SocketAddr) -> String {
    let name = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await;
    let name = name.unwrap_or_default();
    let name = name.trim();
    match registry.ip().is_unspecified() {
        true => format!("{name}:{}", registry.port()),
        false => format!("{name}/{registry}"),
    }
}

fn new_registry(
    config: &Config,
    current: &Arc<Current>,
    recipes: Recipes,
    descriptors: Descriptors,
) -> anyhow::Result<Registry> {
    let size = config.cache_size.0;
    let settings = Settings {
        cache_bytes: size - size / ANSWERS_SHARE,
        tag_ttl: config.tag_ttl,
        digest_ttl: config.digest_ttl,
        not_found_ttl: config.not_found_ttl,
        requests: descriptors.clients(config.limits.max_upstream_requests),
        requests_per_login: config.limits.max_upstream_requests_per_login,
        small_body_memory: in_memory(config.limits.small_body_memory),
        requests_per_second: config.upstream_rate,
        header_timeout: config.upstream_timeout,
        stall_timeout: config.upstream_timeout,
        blob_directory: config.blobs.blob_cache.clone().map(|path| BlobDirectory {
            path,
            capacity: config.blobs.blob_cache_size.0,
        }),
        blob_ring_bytes: in_memory(config.blobs.blob_ring_size),
        blob_rings_bytes: in_memory(config.blobs.blob_memory_size),
        largest_blob: config.blobs.largest_blob.0,
        roster: {
            let current = Arc::clone(current);
            Roster::new(move |name| current.load().as_ref()?.upstream(name).cloned())
        },
        proxies: ProxyEnvironment::read(),
        ..Settings::default()
    };
    let puller = Puller::new(settings).context("cannot set up the way to the upstreams")?;
    let gate = Gate::new(auth::Settings {
        proxies: Proxies(config.trusted_proxies.clone()),
        requests_per_login: config.max_requests_per_login,
        challenge: config.challenge,
    });
    Ok(Registry::new(
        gate,
        current.clone(),
        Arc::new(puller),
        recipes,
        size / ANSWERS_SHARE,
    ))
}

/// A size that memory is to hold.
fn in_memory(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

fn counters(registry: &Arc<Registry>, current: Arc<Current>) -> Counters {
    let mut counters = Counters::with_prefix("metahub");
    registry.metrics().register(&mut counters);
    registry.puller().metrics().register(&mut counters);
    registry.recipes().metrics().register(&mut counters);
    counters.register_collector(Box::new(StateMetrics {
        current,
        registry: registry.clone(),
    }));
    counters
}

fn limits(config: &Config, descriptors: Descriptors) -> Limits {
    let connections = descriptors.clients(config.max_connections);
    // Where few fit, no address is to have all of them.
    let share = match connections < config.max_connections {
        true => (connections / 2).max(1),
        false => usize::MAX,
    };
    Limits {
        connections,
        connections_per_address: config.max_connections_per_address.min(share),
        proxies: Proxies(config.trusted_proxies.clone()),
        header_timeout: config.header_timeout,
        stall_timeout: config.stall_timeout,
        handshakes: HANDSHAKES,
        silent_grace: SILENT_GRACE,
        drain_timeout: config.drain_timeout,
    }
}
