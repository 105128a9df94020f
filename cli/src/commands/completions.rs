//! `metahubctl completions`.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::Cli;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell that is to complete.
    shell: Shell,
}

/// Prints what the shell sources, for example
/// `source <(metahubctl completions bash)`.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "metahubctl",
        &mut script,
    );
    out.write_all(&script).context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_completions_know_the_nouns() {
        let mut out = Vec::new();

        run(&Arguments { shell: Shell::Bash }, &mut out).unwrap();

        assert!(String::from_utf8(out).unwrap().contains("upstream"));
    }
}
