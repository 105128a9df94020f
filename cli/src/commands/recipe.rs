//! `metahubctl recipe`: how to make trimmed indexes again.

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists recipes, last used first.
    List,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::List => output.list(&client.recipes().await?),
    }
}
