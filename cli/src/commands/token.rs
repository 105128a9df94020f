//! `metahubctl token`: what programs and people call the admin API with.

use std::time::Duration;

use serde::Serialize;

use crate::{
    client::Client,
    config::Settings,
    output::Output,
    record::{AdminToken, Role},
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates an admin token, and shows its secret once.
    Create(Create),
    /// Lists admin tokens.
    List,
    /// Revokes an admin token. It is refused at once.
    Revoke {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Its name, for example `ci`. It is who did it in the audit.
    name: String,
    /// What its holder may do.
    #[arg(long, value_enum)]
    role: Role,
    /// For owners: the user whose types, logins, pins and grants its holder
    /// may change.
    #[arg(long, required_if_eq("role", "owner"))]
    user: Option<String>,
    /// When it ends, for example `30d`. Without it: when it is revoked.
    #[arg(long, value_name = "AGE", value_parser = lifetime)]
    expires: Option<Duration>,
    /// For owners: repositories that its holder may grant to the user, for
    /// example `ghcr.io/acme/**`. May be given several times.
    #[arg(long = "allow-grants", value_name = "PATTERN", requires = "user")]
    grantable: Vec<String>,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Create(wish) => {
            let lifetime = wish.expires.unwrap_or_default();
            let created = client.create_token(wish.into(), lifetime).await?;
            let shown = Shown {
                token: created.0,
                secret: created.1,
            };
            output.record(&shown, &shown.text())
        }
        Command::List => output.list(&client.tokens().await?),
        Command::Revoke { name } => {
            client.revoke_token(&name).await?;
            output.done(&format!("Revoked the admin token {name}."))
        }
    }
}

/// A time that is not nothing, which would be for good.
fn lifetime(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(lifetime) if lifetime.is_zero() => Err("it would end at once".into()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// A new token. The secret is shown here and never again.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    token: AdminToken,
    secret: String,
}

impl Shown {
    fn text(&self) -> String {
        format!(
            "Created an admin token.\n\n  token   {}\n  role    {}\n  secret  {}   (shown only now)\n\n\
             Keep the secret in a file and give it with --token-file FILE or METAHUB_TOKEN_FILE.\n",
            self.token.name,
            self.token.whose(),
            self.secret,
        )
    }
}

impl From<Create> for AdminToken {
    fn from(it: Create) -> Self {
        Self {
            name: it.name,
            role: it.role,
            user: it.user.unwrap_or_default(),
            grantable: it.grantable,
            ..Self::default()
        }
    }
}
