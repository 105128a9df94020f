//! `metahubctl host`: joins, lists and manages hosts.

mod detect;
mod identity;
mod login;
pub(super) mod machine;
mod manage;
mod report;
mod token;

use crate::{client::Client, config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Detects this machine's features for machine types. Needs no network, no
    /// privileges and no control plane.
    Detect(detect::Arguments),
    /// Manages host tokens: one token can join many hosts of a user.
    #[command(subcommand)]
    Token(token::Command),
    /// Joins this host with the host token in `--token-file`, and saves its
    /// login. Run it on the host.
    ///
    /// The command can be repeated: the host then gets a new secret, and the
    /// type that currently fits it best.
    Login(login::Arguments),
    /// Reports this host's current features to the control plane. Run it on the
    /// host, from a timer and at boot.
    Report(report::Arguments),
    /// Lists hosts with their types and the features they lack.
    List {
        /// List only the hosts of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// Shows a host with the evidence for its features.
    Show(manage::Which),
    /// Removes a host: its login is refused from then on.
    ///
    /// The host can join again with a token that still allows it: revoke the
    /// token, too.
    Remove(manage::Which),
    /// Moves a host to another type of its user. The host gets the new login
    /// with its next report; until then its former login stays valid.
    Move {
        #[command(flatten)]
        which: manage::Which,
        /// The name of the new type.
        #[arg(long = "type", value_name = "TYPE")]
        machine_type: String,
    },
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Detect(arguments) => return detect::run(&arguments, output),
        Command::Login(arguments) => return login::run(arguments, settings, output).await,
        Command::Report(arguments) => return report::run(arguments, output).await,
        _ => {}
    }
    let client = Client::connect(settings).await?;
    match command {
        Command::Token(command) => token::run(command, &client, output).await,
        Command::List { user } => manage::list(user, &client, output).await,
        Command::Show(which) => manage::show(which, &client, output).await,
        Command::Remove(which) => manage::remove(which, &client, output).await,
        Command::Move {
            which,
            machine_type,
        } => manage::move_to(which, &machine_type, &client, output).await,
        Command::Detect(_) | Command::Login(_) | Command::Report(_) => Ok(()),
    }
}
