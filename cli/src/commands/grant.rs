//! `metahubctl grant`: who may pull from restricted upstreams.

use metahub_policy::Grant;

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Opens repositories to a user, or to all.
    Create {
        #[command(flatten)]
        grant: Arguments,
    },
    /// Lists grants.
    List,
    /// Deletes a grant.
    Delete {
        #[command(flatten)]
        grant: Arguments,
    },
}

/// Which grant is meant.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true))]
pub(crate) struct Arguments {
    /// The user that it is for.
    #[arg(long, group = "whom")]
    user: Option<String>,
    /// It is for every user.
    #[arg(long, group = "whom")]
    all_users: bool,
    /// The repositories, with their upstream in front: `ghcr.io/acme/app`,
    /// `ghcr.io/acme/*` for one path component more, `ghcr.io/**` for all.
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
        Command::Create { grant } => {
            let grant = Grant::from(grant);
            client.put_grant(grant.clone()).await?;
            let text = format!("Opened {} to {}.", grant.repository, whom(&grant));
            output.record(&grant, &text)
        }
        Command::List => output.list(&client.grants().await?),
        Command::Delete { grant } => {
            let grant = Grant::from(grant);
            client.delete_grant(grant.clone()).await?;
            let text = format!(
                "Deleted the grant of {} for {}.",
                grant.repository,
                whom(&grant)
            );
            output.done(&text)
        }
    }
}

fn whom(grant: &Grant) -> String {
    let one = |user| format!("user {user}");
    grant.user.as_ref().map_or_else(|| "all users".into(), one)
}

impl From<Arguments> for Grant {
    fn from(arguments: Arguments) -> Self {
        Self {
            user: arguments.user,
            repository: arguments.repository,
        }
    }
}
