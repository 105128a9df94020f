//! `metahubctl host`: hosts, and what they are.

use crate::{config::Settings, output::Output};

mod detect;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Detects what this machine is, in features of machine types. Needs no
    /// network, no privileges and no control plane.
    Detect(detect::Arguments),
}

pub(crate) async fn run(
    command: Command,
    _settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Detect(arguments) => detect::run(&arguments, output),
    }
}
