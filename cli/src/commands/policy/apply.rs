//! `metahubctl apply`: makes the policy what files say.

use std::io::{self, IsTerminal};

use anyhow::bail;

use super::{Files, located, tell};
use crate::{
    client::{Client, Manner},
    config::Settings,
    output::{Output, table},
    policy_file::PolicyFiles,
    record::Outcome,
};

/// How many deletions are listed before one is asked.
const LISTED: usize = 50;

/// Which files to apply, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    /// Delete what the files do not name. Asks first.
    #[arg(long)]
    prune: bool,
    /// Only say what would be changed.
    #[arg(long)]
    dry_run: bool,
    /// Delete without asking.
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn apply(
    wanted: Apply,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let files = PolicyFiles::read(&wanted.files.files)?;
    let client = Client::connect(settings).await?;
    let declared = files.declaration();
    let mut manner = Manner {
        prune: wanted.prune,
        dry_run: wanted.dry_run,
        unchanged_since: None,
    };
    if wanted.prune && !wanted.dry_run && !wanted.yes {
        let preview = Manner {
            dry_run: true,
            ..manner
        };
        let planned = located(client.apply(declared, preview).await, &files)?;
        confirm("--prune", &planned, output)?;
        manner.unchanged_since = planned.revision;
    }
    let applied = client.apply(declared, manner).await;
    let outcome = located(applied, &files)?;
    let warnings = outcome.warnings.iter().map(|it| files.warning(it));
    output.warn(&warnings.collect::<Vec<_>>());
    tell(&outcome, wanted.dry_run, output)?;
    match outcome.new_logins.is_empty() {
        true => Ok(()),
        false => output.done(&format!(
            "\nNew logins, with secrets that are shown only now:\n\n{}",
            table(&outcome.new_logins)
        )),
    }
}

/// Goes on only if someone agrees to what is deleted by `what`.
pub(super) fn confirm(
    what: &str,
    planned: &Outcome,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let count = planned.deleted().count();
    if count == 0 {
        return Ok(());
    }
    for deleted in planned.deleted().take(LISTED) {
        output.note(&format!("- {}", deleted.key));
    }
    if count > LISTED {
        output.note(&format!("and {} more", count - LISTED));
    }
    if !io::stdin().is_terminal() {
        bail!("{what} would delete {count}, as listed: agree to it with --yes");
    }
    output.note(&format!("Delete {count}, as listed? Type yes to go on."));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" | "y" => Ok(()),
        _ => bail!("nothing was changed"),
    }
}
