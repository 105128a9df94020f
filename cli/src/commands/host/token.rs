//! `metahubctl host token`: manages the tokens that hosts join with.

use std::time::Duration;

use crate::{client::Client, commands::worker::parse_lifetime, output::Output, record::HostToken};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a host token and prints it.
    Create(Create),
    /// Lists host tokens, without their secrets.
    List,
    /// Revokes a host token. Hosts that have joined stay.
    Revoke {
        /// The token's name.
        name: String,
        /// The user whose hosts join with the token.
        #[arg(long)]
        user: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The user whose hosts join with the token.
    #[arg(long)]
    user: String,
    /// The types that a host can get [default: all of the user's].
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,
    /// Create a type for a host that fits none of the user's types.
    #[arg(long, conflicts_with = "types")]
    auto: bool,
    /// The number of hosts that can join. 0: any number.
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// The token's lifetime, or `never` for no end.
    #[arg(long, default_value = "1d", value_parser = parse_lifetime)]
    expires: Duration,
    /// The token's name, to list and revoke it [default: a random name].
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
            // The secret is alone on its line, for use in scripts.
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
