//! `metahubctl host token`: what hosts join by.

use std::time::Duration;

use crate::{client::Client, commands::worker::parse_lifetime, output::Output, record::HostToken};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a host token, and prints it.
    Create(Create),
    /// Lists host tokens, without their secrets.
    List,
    /// Revokes a host token. Hosts that have joined stay.
    Revoke {
        /// Its name.
        name: String,
        /// The user whose hosts join by it.
        #[arg(long)]
        user: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The user whose hosts join by it.
    #[arg(long)]
    user: String,
    /// The types that they may get [default: all of the user].
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// Make a type for a host that none of the user's suits.
    #[arg(long, conflicts_with = "types")]
    auto: bool,
    /// How many hosts may join. 0: any number.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// For how long it is good, or `never` for no end.
    #[arg(long, default_value = "1d", value_parser = parse_lifetime)]
    expires: Duration,
    /// A name to list and revoke it by [default: a random one].
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
}

pub(crate) async fn run(
    command: Command,
    client: &Client,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Create(wish) => {
            let token = HostToken {
                user: wish.user,
                name: wish.name,
                types: wish.types,
                auto: wish.auto,
                uses_left: Some(wish.uses),
                ..HostToken::default()
            };
            let created = client.create_host_token(token, wish.expires).await?;
            // Alone on its line, so that a script can take it.
            let text = format!("{}\n", created.secret);
            output.record(&created, &text)
        }
        Command::List => output.list(&client.host_tokens().await?),
        Command::Revoke { name, user } => {
            client.revoke_host_token(&user, &name).await?;
            output.done(&format!("host token `{name}` of `{user}` is revoked"))
        }
    }
}
