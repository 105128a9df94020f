//! `metahubctl authority`: what vouches for the control plane and for workers.

use crate::{client::Client, config::Settings, output::Output, record::Authority};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows which authorities are trusted, and which workers still have a
    /// certificate of the former one alone.
    Show,
    /// Makes a new authority. The former one is trusted beside it until it is
    /// retired; workers and metahubctl change over by themselves.
    Rotate,
    /// Trusts the former authority no more.
    Retire {
        /// Also if workers have certificates of it alone: they have to join
        /// anew.
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Show => show(&client.authority().await?, output),
        Command::Rotate => {
            show(&client.rotate_authority().await?, output)?;
            output.note(
                "Workers that are connected change over within seconds. Once `metahubctl \
                 authority show` says that none is behind, and each metahubctl has been used \
                 once: `metahubctl authority retire`.",
            );
            Ok(())
        }
        Command::Retire { force } => show(&client.retire_authority(force).await?, output),
    }
}

fn show(authority: &Authority, output: &mut Output<'_>) -> anyhow::Result<()> {
    output.record(authority, &authority.text())
}
