//! `metahubctl image`: images, and who gets what of them.

mod assemble;
mod explain;
pub(crate) mod source;

use crate::{config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says what each machine type gets of an image, and why. With `--index` it
    /// works on files, and needs neither a control plane nor a registry.
    Explain(explain::Arguments),
    /// Pushes an index that says what each of its images needs. Works on a
    /// registry; needs no control plane.
    Assemble(assemble::Arguments),
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Explain(arguments) => explain::run(&arguments, settings, output).await,
        Command::Assemble(arguments) => assemble::run(arguments, output).await,
    }
}
