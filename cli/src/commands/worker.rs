//! `metahubctl worker`: the proxies that serve the registry API.

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists workers with the revision that each serves and its lag.
    List,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::List => output.list(&client.workers().await?.0),
    }
}
