//! A control plane and workers in this process.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;
use metahub_control::Catalog;
use metahub_worker::{
    BlobConfig, TlsConfig,
    trust::{Fingerprint, Trust},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{client::Client, secret};

/// A free port of the loopback address.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long workers may take to hear of a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a control plane keeps its state and serves.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlace {
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) state: State,
    pub(crate) insecure: bool,
    /// The worker's URL, sent to hosts that join. `None`: the environment's
    /// value.
    pub(crate) registry_url: Option<Url>,
}

/// Whether a control plane's state outlives it. Its tokens always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is kept in the data directory, if the environment does not say else.
    Kept,
    /// It is gone with the process.
    InMemory,
}

/// Where a worker serves.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlace {
    pub(crate) registry_addr: SocketAddr,
    pub(crate) admin_addr: SocketAddr,
    /// How it keeps and shares blobs. None: as a worker does by itself.
    pub(crate) blobs: Option<BlobConfig>,
    /// The TLS settings of the registry API, if it uses TLS.
    pub(crate) tls: Option<TlsConfig>,
}

/// Planes that run until `shutdown` is cancelled.
#[derive(Debug)]
pub(crate) struct Planes {
    running: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
    control: Url,
    /// What its certificate is rooted in. `None`: plain text.
    fingerprint: Option<Fingerprint>,
    admin_token_file: PathBuf,
    worker_token_file: PathBuf,
    catalog: Catalog,
}

impl Planes {
    /// Starts a control plane.
    pub(crate) async fn start(
        place: &ControlPlace,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let app = metahub_control::App::bind(place.config()?)
            .await
            .context("cannot start the control plane")?;
        let mut planes = Self {
            control: loopback_url(app.grpc_addr(), app.fingerprint().is_some())?,
            fingerprint: {
                let fingerprint = app.fingerprint();
                fingerprint.as_deref().map(str::parse).transpose()?
            },
            admin_token_file: app.admin_token_file().into(),
            worker_token_file: app.worker_token_file().into(),
            running: JoinSet::new(),
            shutdown: shutdown.clone(),
            catalog: app.catalog(),
        };
        planes.running.spawn(app.run(shutdown));
        Ok(planes)
    }

    /// Starts a worker, and returns where it serves the registry API.
    pub(crate) async fn add_worker(&mut self, place: &WorkerPlace) -> anyhow::Result<SocketAddr> {
        let config = place.config(&self.control, self.fingerprint, &self.worker_token_file)?;
        let app = metahub_worker::App::bind(config)
            .await
            .context("cannot start a worker")?;
        let address = app.registry_addr();
        self.running.spawn(app.run(self.shutdown.clone()));
        Ok(address)
    }

    /// The control plane's URL.
    pub(crate) fn control(&self) -> &Url {
        &self.control
    }

    /// The file that holds the admin token.
    pub(crate) fn admin_token_file(&self) -> &Path {
        &self.admin_token_file
    }

    /// The policy of the control plane.
    pub(crate) fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }

    /// A connection to the admin API.
    pub(crate) async fn admin(&self) -> anyhow::Result<Client> {
        let token = secret::read(&self.admin_token_file)?;
        let trust = self.fingerprint.map(Trust::Fingerprint);
        Client::connect_to(&self.control, &token, trust.as_ref()).await
    }

    /// Runs `task` beside the planes. It ends by itself at shutdown.
    pub(crate) fn also(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async {
            task.await;
            Ok(())
        });
    }

    /// Waits until `workers` workers serve the newest policy.
    pub(crate) async fn ready(&mut self, workers: usize) -> anyhow::Result<()> {
        let admin = self.admin().await?;
        tokio::select! {
            Some(ended) = self.running.join_next() => {
                ended??;
                bail!("stopped while starting")
            }
            settled = admin.settled(workers, PATIENCE) => settled,
        }
    }

    /// Waits for the end: after `shutdown`, all have drained; when one fails,
    /// the others are told to end too, and its failure is returned.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next().await {
            self.shutdown.cancel();
            let ended = ended.unwrap_or_else(|error| Err(error.into()));
            result = result.and(ended);
        }
        result
    }
}

impl ControlPlace {
    fn config(&self) -> anyhow::Result<metahub_control::Config> {
        let mut arguments = vec![
            "metahub-control".into(),
            format!("--grpc-addr={}", self.grpc_addr).into(),
            "--data-dir".into(),
            self.data_dir.clone().into_os_string(),
        ];
        if self.state == State::InMemory {
            arguments.push("--store=memory".into());
        }
        if self.insecure {
            arguments.push("--insecure".into());
        }
        if let Some(url) = &self.registry_url {
            arguments.push(format!("--registry-url={url}").into());
        }
        metahub_control::Config::try_parse_from(arguments)
            .context("the control plane does not take its settings")
    }
}

impl WorkerPlace {
    fn config(
        &self,
        control: &Url,
        fingerprint: Option<Fingerprint>,
        token_file: &Path,
    ) -> anyhow::Result<metahub_worker::Config> {
        let mut config = metahub_worker::Config::try_parse_from([
            "metahub-worker".into(),
            format!("--registry-addr={}", self.registry_addr).into(),
            format!("--admin-addr={}", self.admin_addr).into(),
            format!("--control={control}").into(),
            "--token-file".into(),
            token_file.as_os_str().to_owned(),
        ])
        .context("the worker does not take its settings")?;
        config.fingerprint = fingerprint.or(config.fingerprint);
        if let Some(blobs) = &self.blobs {
            config.blobs = blobs.clone();
        }
        config.tls = self.tls.clone().unwrap_or_default();
        Ok(config)
    }
}

/// The URL at which this host reaches `address`, which may be unspecified.
fn loopback_url(address: SocketAddr, is_secure: bool) -> anyhow::Result<Url> {
    let host = match address {
        SocketAddr::V4(it) if it.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(it) if it.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        it => it.ip(),
    };
    let address = SocketAddr::new(host, address.port());
    let scheme = if is_secure { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}")).context("an address makes a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_over_loopback() {
        let url = loopback_url("0.0.0.0:7400".parse().unwrap(), false).unwrap();

        assert_eq!(url.as_str(), "http://127.0.0.1:7400/");
    }
}
