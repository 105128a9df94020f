//! `metahubctl image`: images, and who gets what of them.

mod assemble;
mod explain;
mod resolve;
pub(crate) mod source;

use crate::{config::Settings, output::Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says what each machine type gets of an image, and why. With `--index` it
    /// works on files, and needs neither a control plane nor a registry.
    Explain(explain::Arguments),
    /// Prints the digest that an image's name resolves to for a machine type,
    /// as `repository@sha256:…`. Exits with 3 if no variant fits.
    Resolve(resolve::Arguments),
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
        Command::Resolve(arguments) => resolve::run(&arguments, settings, output).await,
        Command::Assemble(arguments) => assemble::run(arguments, output).await,
    }
}
