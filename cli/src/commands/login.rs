//! `metahubctl login`: what hosts give to `docker login`.

use serde::Serialize;

use crate::{client::Client, config::Settings, output::Output, record::NewLogin};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates a login for a machine type, and shows its secret once.
    Create {
        /// The machine type's name.
        #[arg(value_name = "TYPE")]
        machine_type: String,
        /// The user that owns it.
        #[arg(long)]
        user: String,
        /// Make a further login of the type: `<user>-<type>--<name>`, with a
        /// secret of its own.
        #[arg(long)]
        name: Option<String>,
        /// Let the host add features after `+` in the login's name.
        #[arg(long)]
        allow_selectors: bool,
    },
    /// Gives a login a new secret. The old one stops working.
    Rotate {
        /// The login's name, for example `qnib-type1`.
        login: String,
    },
    /// Lists logins.
    List {
        /// Only those of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// Deletes a login. Hosts that use it are refused from then on.
    Delete {
        /// The login's name, for example `qnib-type1`.
        login: String,
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
            machine_type,
            user,
            name,
            allow_selectors,
        } => {
            let login = client
                .create_login(&user, &machine_type, name, allow_selectors)
                .await?;
            let shown = Shown::of(login, &registry(settings, &client).await);
            let mut text = format!("Created a login.\n\n{}", shown.text());
            if allow_selectors {
                text += &shown.selectors();
            }
            output.record(&shown, &text)
        }
        Command::Rotate { login } => {
            let login = client.rotate_login(&login).await?;
            let shown = Shown::of(login, &registry(settings, &client).await);
            let text = format!(
                "Replaced the secret of {}.\n\n{}",
                shown.login.name,
                shown.text()
            );
            output.record(&shown, &text)
        }
        Command::List { user } => output.list(&client.logins(user.as_deref()).await?),
        Command::Delete { login } => {
            client.delete_login(&login).await?;
            output.done(&format!("Deleted login {login}."))
        }
    }
}

/// A new login and how to use it. The secret is shown here and never again.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) login: NewLogin,
    pub(crate) registry: String,
}

impl Shown {
    /// Shows `login` at `registry`.
    pub(crate) fn of(login: NewLogin, registry: &str) -> Self {
        let registry = registry.to_owned();
        Self { login, registry }
    }

    /// What people copy from.
    pub(crate) fn text(&self) -> String {
        format!(
            "  login   {}\n  secret  {}   (shown only now)\n\nOn the host:\n\n  {}\n",
            self.login.name,
            self.login.secret,
            self.command(),
        )
    }

    /// How a host uses selectors, for a login that may.
    pub(crate) fn selectors(&self) -> String {
        format!(
            "\nThe host may add features for its pulls after `+` in the login's name:\n\n  \
             docker login --username {}+nvcap:8.0 {}\n",
            self.login.name, self.registry,
        )
    }

    /// The line that logs docker in. The secret goes through stdin, where no
    /// list of processes shows it.
    pub(crate) fn command(&self) -> String {
        format!(
            "echo {} | docker login --username {} --password-stdin {}",
            self.login.secret, self.login.name, self.registry,
        )
    }
}

/// Where hosts log in: as set, or else at the first connected worker.
pub(crate) async fn registry(settings: &Settings, client: &Client) -> String {
    if let Some(registry) = &settings.registry {
        let host = registry
            .split_once("://")
            .map_or(registry.as_str(), |it| it.1);
        return host.trim_end_matches('/').to_owned();
    }
    let address = client.worker_address().await;
    address.unwrap_or_else(|_| "REGISTRY".into())
}
