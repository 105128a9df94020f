//! `metahubctl host`: hosts, and what they are.

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
    /// Detects what this machine is, in features of machine types. Needs no
    /// network, no privileges and no control plane.
    Detect(detect::Arguments),
    /// Host tokens: one lets many hosts of a user join.
    #[command(subcommand)]
    Token(token::Command),
    /// Joins this host with the host token in `--token-file`, and keeps its login.
    /// Run it on the host.
    ///
    /// It may be repeated: the host then has a new secret, and the type that suits
    /// it best by then.
    Login(login::Arguments),
    /// Tells the control plane what this host is now. Run it on the host, from a
    /// timer and at boot.
    Report(report::Arguments),
    /// Lists hosts with their types and what they lack of them.
    List {
        /// Only those of this user.
        #[arg(long)]
        user: Option<String>,
    },
    /// Shows a host, with the evidence for its features.
    Show(manage::Which),
    /// Removes a host: its login is refused from then on.
    ///
    /// A token that still lets hosts join would let it in again: revoke that,
    /// too.
    Remove(manage::Which),
    /// Moves a host to another type of its user. The host learns so by its next
    /// report; until then its former login stays.
    Move {
        #[command(flatten)]
        which: manage::Which,
        /// The name of its new type.
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
