//! `metahubctl user`: accounts that own machine types.

use std::path::PathBuf;

use secrecy::ExposeSecret;

use crate::{client::Client, config::Settings, output::Output, secret};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a user.
    Create {
        /// Its name, for example `qnib`.
        name: String,
        /// The file that holds its password; `-` is stdin. Without one it
        /// cannot log in with a password.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Lists users.
    List,
    /// Deletes a user with all its machine types, logins, pins and grants.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Create {
            name,
            password_file,
        } => {
            let password = password_file.as_deref().map(secret::read).transpose()?;
            let password = password.as_ref().map_or("", |it| it.expose_secret());
            let user = client.create_user(&name, password).await?;
            output.record(&user, &format!("Created user {}.", user.name))
        }
        Command::List => output.list(&client.users().await?),
        Command::Delete { name } => {
            client.delete_user(&name).await?;
            output.done(&format!("Deleted user {name}."))
        }
    }
}
