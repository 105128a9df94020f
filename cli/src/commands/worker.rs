//! `metahubctl worker`: the proxies that serve the registry API.

use std::time::Duration;

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists workers with the revision that each serves and its lag.
    List,
    /// Join tokens: what a worker is given to get its certificate.
    #[command(subcommand)]
    Token(Token),
    /// Revokes a worker's certificate, and ends its stream. Forgets one that is
    /// lost.
    ///
    /// A join token that still admits workers would let it in again: revoke
    /// that, too.
    Remove {
        /// Its id, as `worker list` shows it.
        id: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// Creates a join token, and prints it.
    Create {
        /// How many workers it admits. 0: any number.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how long it is good, or `never` for no end.
        #[arg(long, default_value = "1h", value_parser = parse_lifetime)]
        expires: Duration,
        /// A name to list and revoke it by [default: a random one].
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Lists join tokens, without their secrets.
    List,
    /// Revokes a join token. Workers that have joined stay.
    Revoke {
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
        Command::List => {
            let (workers, newest) = client.workers().await?;
            let lost = workers
                .iter()
                .filter(|it| !it.connected && it.applied != newest);
            let lost = lost.map(|it| format!("{} is lost, and may serve an older policy", it.id));
            output.warn(&lost.collect::<Vec<_>>());
            output.list(&workers)
        }
        Command::Token(command) => run_token(command, &client, output).await,
        Command::Remove { id } => {
            client.remove_worker(id.clone()).await?;
            output.done(&format!("worker `{id}` is removed"))
        }
    }
}

async fn run_token(command: Token, client: &Client, output: &mut Output<'_>) -> anyhow::Result<()> {
    match command {
        Token::Create {
            uses,
            expires,
            name,
        } => {
            let created = client.create_join_token(name, uses, expires).await?;
            // Alone on its line, so that a script can take it.
            let text = format!("{}\n", created.secret);
            output.record(&created, &text)
        }
        Token::List => output.list(&client.join_tokens().await?),
        Token::Revoke { name } => {
            client.revoke_join_token(name.clone()).await?;
            output.done(&format!("join token `{name}` is revoked"))
        }
    }
}

/// Zero: no end.
pub(super) fn parse_lifetime(text: &str) -> Result<Duration, String> {
    match text {
        "never" => Ok(Duration::ZERO),
        text => match humantime::parse_duration(text) {
            Ok(lifetime) if lifetime.as_secs() > 0 => Ok(lifetime),
            Ok(_) => Err("it is less than a second".into()),
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_never_ends_is_asked_for_by_name() {
        assert_eq!(parse_lifetime("never"), Ok(Duration::ZERO));
        assert_eq!(parse_lifetime("1h"), Ok(Duration::from_secs(3_600)));
        assert!(parse_lifetime("0s").is_err());
    }
}
