//! `metahubctl image`: images, and who gets what of them.

mod assemble;
mod explain;
mod source;

use crate::output::Output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says what a machine type gets of an index, and why. Works on files; needs
    /// no control plane.
    Explain(explain::Arguments),
    /// Pushes an index that says what each of its images needs. Works on a
    /// registry; needs no control plane.
    Assemble(assemble::Arguments),
}

pub(crate) async fn run(command: Command, output: &mut Output<'_>) -> anyhow::Result<()> {
    match command {
        Command::Explain(arguments) => explain::run(&arguments, output),
        Command::Assemble(arguments) => assemble::run(arguments, output).await,
    }
}
