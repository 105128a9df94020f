//! `metahubctl up`: both planes in one process, for one machine and for trying
//! out.

mod policy_file;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, anyhow};
use metahub_worker::{BlobConfig, TlsConfig};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

use self::policy_file::PolicyFile;
use crate::{
    config::Settings,
    output::Output,
    planes::{ControlPlace, Planes, State, WorkerPlace},
    record::{Upstream, UpstreamSecrets},
    signal, telemetry,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory that keeps the state and the tokens.
    #[arg(long, env = "METAHUB_DATA_DIR", default_value = "metahub-data")]
    data_dir: PathBuf,

    /// Where to serve the registry API.
    #[arg(long, env = "METAHUB_REGISTRY_ADDR", default_value = "127.0.0.1:7480")]
    registry_addr: SocketAddr,

    /// The registry's URL as hosts reach it, sent to hosts that join [default:
    /// the URL of the address].
    #[arg(long, env = "METAHUB_REGISTRY_URL", value_name = "URL")]
    registry_url: Option<Url>,

    /// Where to serve health and metrics.
    #[arg(
        long,
        env = "METAHUB_WORKER_ADMIN_ADDR",
        default_value = "127.0.0.1:7481"
    )]
    admin_addr: SocketAddr,

    /// Where to serve gRPC, for metahubctl and further workers.
    #[arg(long, env = "METAHUB_GRPC_ADDR", default_value = "127.0.0.1:7400")]
    grpc_addr: SocketAddr,

    /// How the worker keeps and shares blobs.
    #[command(flatten)]
    blobs: BlobConfig,

    /// The TLS settings of the registry API.
    #[command(flatten)]
    tls: TlsConfig,

    /// Make this registry the default upstream, for example
    /// `registry.example.com=https://registry.example.com`.
    #[arg(long, value_name = "NAME=URL", value_parser = parse_upstream)]
    upstream: Option<Upstream>,

    /// Take the whole policy from this file, again whenever it changes, and
    /// keep none: users, types, logins, upstreams, rules and pins in YAML.
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    config: Option<PathBuf>,

    /// What to log, for example `info`.
    #[arg(long, env = "METAHUB_LOG", default_value = "warn,metahub_cli=info")]
    log: String,
}

pub(crate) async fn run(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let _flush = telemetry::start(&arguments.log)?;
    serve(arguments, settings, output, signal::shutdown()?).await
}

async fn serve(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (control, worker) = arguments.places(settings.insecure);
    let mut planes = Planes::start(&control, shutdown.clone()).await?;
    let is_static = arguments.config.is_some();
    if let Some(path) = arguments.config {
        let mut file = PolicyFile::new(path, planes.catalog());
        file.refresh().await?;
        planes.also(file.follow(shutdown.clone()));
    }
    if let Some(upstream) = arguments.upstream {
        planes
            .admin()
            .await?
            .put_upstream(upstream, UpstreamSecrets::default())
            .await?;
    }
    let registry = planes.add_worker(&worker).await?;
    let ready = planes.ready(1).await;
    if !shutdown.is_cancelled() {
        ready?;
    }
    // It serves, whether or not someone reads that.
    if let Err(error) = output.text(&welcome(&planes, registry, is_static)) {
        warn!("{error:#}");
    }
    planes.run().await
}

impl Arguments {
    /// The registry's URL, if it is known before the worker starts.
    fn registry_url(&self) -> Option<Url> {
        let scheme = match self.tls.tls_cert {
            Some(_) => "https",
            None => "http",
        };
        let addr = self.registry_addr;
        let is_known = !addr.ip().is_unspecified() && addr.port() != 0;
        let own = || Url::parse(&format!("{scheme}://{addr}")).ok();
        let given = self.registry_url.clone();
        given.or_else(|| own().filter(|_| is_known))
    }

    fn places(&self, insecure: bool) -> (ControlPlace, WorkerPlace) {
        let control = ControlPlace {
            grpc_addr: self.grpc_addr,
            data_dir: self.data_dir.clone(),
            state: match self.config {
                None => State::Kept,
                Some(_) => State::InMemory,
            },
            insecure,
            registry_url: self.registry_url(),
        };
        let worker = WorkerPlace {
            registry_addr: self.registry_addr,
            admin_addr: self.admin_addr,
            blobs: Some(self.blobs.clone()),
            tls: Some(self.tls.clone()),
        };
        (control, worker)
    }
}

fn welcome(planes: &Planes, registry: SocketAddr, is_static: bool) -> String {
    let next = if is_static {
        format!("  docker login --username USER-TYPE {registry}\n")
    } else {
        "  metahubctl user create qnib\n  \
         metahubctl type create type1 --user qnib --feature cpu:broadwell\n"
            .into()
    };
    format!(
        "MetaHub is up. Ctrl-C stops it.\n\n  \
         registry     {registry}\n  \
         admin API    {}\n  \
         admin token  {}\n\n\
         Next, in another terminal in this directory:\n\n{next}",
        planes.control(),
        planes.admin_token_file().display(),
    )
}

fn parse_upstream(text: &str) -> anyhow::Result<Upstream> {
    let (name, url) = text
        .split_once('=')
        .ok_or_else(|| anyhow!("it is not of the form NAME=URL"))?;
    let url = Url::parse(url).with_context(|| format!("`{url}` is no URL"))?;
    Ok(Upstream {
        name: name.into(),
        url: url.as_str().trim_end_matches('/').into(),
        default: true,
        ..Upstream::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_name_and_a_url() {
        let upstream = parse_upstream("docker.io=https://registry-1.docker.io").unwrap();

        assert_eq!(upstream.name, "docker.io");
        assert_eq!(upstream.url, "https://registry-1.docker.io");
        assert!(parse_upstream("docker.io").is_err());
    }
}
