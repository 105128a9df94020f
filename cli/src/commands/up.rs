//! `metahubctl up`: both planes in one process, for one machine and for trying
//! out.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    config::Settings,
    output::Output,
    planes::{ControlPlace, Planes, WorkerPlace},
    record::Upstream,
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

    /// Make this registry the default upstream, for example
    /// `registry.example.com=https://registry.example.com`.
    #[arg(long, value_name = "NAME=URL", value_parser = parse_upstream)]
    upstream: Option<Upstream>,
}

pub(crate) async fn run(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    telemetry::start();
    serve(arguments, settings, output, signal::shutdown()?).await
}

async fn serve(
    arguments: Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let control = ControlPlace {
        grpc_addr: arguments.grpc_addr,
        data_dir: arguments.data_dir,
        insecure: settings.insecure,
    };
    let mut planes = Planes::start(control, shutdown).await?;
    let worker = WorkerPlace {
        registry_addr: arguments.registry_addr,
        admin_addr: arguments.admin_addr,
    };
    let registry = planes.add_worker(worker).await?;
    if let Some(upstream) = arguments.upstream {
        planes.admin().await?.put_upstream(upstream, None).await?;
    }
    output.text(&welcome(&planes, registry))?;
    planes.run().await
}

fn welcome(planes: &Planes, registry: SocketAddr) -> String {
    format!(
        "MetaHub is up. Ctrl-C stops it.\n\n\
         \x20 registry     {registry}\n\
         \x20 admin API    {}\n\
         \x20 admin token  {}\n\n\
         Next, in another terminal, here:\n\n\
         \x20 metahubctl user create qnib\n\
         \x20 metahubctl type create type1 --user qnib --feature cpu:broadwell\n",
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
        username: String::new(),
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
