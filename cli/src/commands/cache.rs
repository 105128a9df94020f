//! `metahubctl cache`: what workers keep of upstreams.

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes all workers drop cached content: manifests, blobs, and what was
    /// chosen from them. What an upstream still has is fetched again when it is
    /// asked for.
    Purge(Purge),
}

/// What to drop: what fits all that is given.
#[derive(Debug, clap::Args)]
#[group(id = "what", required = true, multiple = true, args = ["repository", "digest"])]
pub(crate) struct Purge {
    /// A repository, with its upstream in front, for example
    /// `docker.io/library/nginx`.
    #[arg(long)]
    repository: Option<String>,
    /// The digest of a manifest or a blob.
    #[arg(long)]
    digest: Option<String>,
    /// The upstream, for example `docker.io`. Default: any, or the first part of
    /// the repository.
    #[arg(long)]
    upstream: Option<String>,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let Command::Purge(purge) = command;
    let client = Client::connect(settings).await?;
    client
        .purge_cache(purge.upstream, purge.repository, purge.digest)
        .await?;
    output.done("Told all workers to drop it; one that is away drops it when it is back.")
}
