//! `metahubctl upstream`: registries that MetaHub pulls from.

use std::path::PathBuf;

use url::Url;

use crate::{client::Client, config::Settings, output::Output, record::Upstream, secret};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates or replaces an upstream.
    Create {
        /// The name that clients use, for example `ghcr.io`.
        name: String,
        /// Where it is, for example `https://ghcr.io`.
        #[arg(long)]
        url: Url,
        /// Send names without a host to it.
        #[arg(long)]
        default: bool,
        /// The account to pull with.
        #[arg(long, requires = "password_file")]
        username: Option<String>,
        /// The file that holds the account's password or token; `-` is stdin.
        #[arg(long, value_name = "FILE", requires = "username")]
        password_file: Option<PathBuf>,
        /// Open it only to users with a grant. One with an account is
        /// restricted in any case.
        #[arg(long)]
        restricted: bool,
    },
    /// Lists upstreams.
    List,
    /// Deletes an upstream.
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
            url,
            default,
            username,
            password_file,
            restricted,
        } => {
            let password = password_file.as_deref().map(secret::read).transpose()?;
            let upstream = Upstream {
                name,
                url: url.as_str().trim_end_matches('/').into(),
                default,
                username: username.unwrap_or_default(),
                restricted,
            };
            client
                .put_upstream(upstream.clone(), password.as_ref())
                .await?;
            if upstream.needs_grant() {
                output.note(&format!(
                    "Only users with a grant may pull from it: see `metahubctl grant create --help`; `--all-users --repository '{}/**'` opens it to all.",
                    upstream.name
                ))?;
            }
            output.record(&upstream, &format!("Created upstream {}.", upstream.name))
        }
        Command::List => output.list(&client.upstreams().await?),
        Command::Delete { name } => {
            client.delete_upstream(&name).await?;
            output.done(&format!("Deleted upstream {name}."))
        }
    }
}
