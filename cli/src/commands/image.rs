//! `metahubctl image`: images, and who gets what of them.

mod explain;
mod source;

use crate::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says what a machine type gets of an index, and why. Works on files; needs
    /// no control plane.
    Explain(explain::Arguments),
}

pub(crate) fn run(command: Command, output: &mut Output<'_>) -> anyhow::Result<()> {
    match command {
        Command::Explain(arguments) => explain::run(&arguments, output),
    }
}
