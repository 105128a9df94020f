//! `metahubctl completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, failure::Unprinted};

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
    Ok(out.write_all(&script).map_err(|source| Unprinted {
        to: "stdout",
        source,
    })?)
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
