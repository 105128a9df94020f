//! `metahubctl pin`: variants that an admin has chosen for a type.

use crate::{client::Client, config::Settings, output::Output, record::Pin};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates or replaces a pin.
    Create {
        #[command(flatten)]
        key: Key,
        /// The variant's digest, as the index names it.
        #[arg(long)]
        digest: String,
    },
    /// Lists pins.
    List,
    /// Deletes a pin.
    Delete {
        #[command(flatten)]
        key: Key,
    },
}

/// Which pin is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    /// The machine type's name.
    #[arg(value_name = "TYPE")]
    machine_type: String,
    /// The user that owns it.
    #[arg(long)]
    user: String,
    /// The repositories, for example `qnib/bench` or `ghcr.io/org/*`.
    #[arg(long)]
    repository: String,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Create { key, digest } => {
            let pin = Pin {
                user: key.user,
                machine_type: key.machine_type,
                repository: key.repository,
                digest,
            };
            client.put_pin(pin.clone()).await?;
            let text = format!(
                "Pinned {} to {} for type {}/{}.",
                pin.repository, pin.digest, pin.user, pin.machine_type,
            );
            output.record(&pin, &text)
        }
        Command::List => output.list(&client.pins().await?),
        Command::Delete { key } => {
            client
                .delete_pin(&key.user, &key.machine_type, &key.repository)
                .await?;
            output.done(&format!("Deleted the pin of {}.", key.repository))
        }
    }
}
