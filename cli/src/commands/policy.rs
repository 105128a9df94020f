//! `metahubctl policy`: the policy as a whole, from files and to a file, and
//! what it was.

mod apply;

use std::path::PathBuf;

use anyhow::Context;
use metahub_control::Declaration;
use schemars::generate::SchemaSettings;

pub(crate) use self::apply::{Apply, apply};
use crate::{
    client::{Client, Manner},
    config::Settings,
    failure::Failure,
    output::{Format, Output},
    policy_file::PolicyFiles,
    record::{HistoryEntry, Outcome, Revision},
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes the policy what files say, in one revision.
    Apply(Apply),
    /// Says what applying files would change.
    Diff(Diff),
    /// Prints the policy as a file that `apply` takes back.
    Export(Export),
    /// Lists the latest revisions: who made them, and what for.
    History {
        /// How many.
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
        last: u32,
    },
    /// Makes the policy again what it was, as a new revision. Secrets stay as
    /// they are. Asks before it deletes what was made since.
    Rollback {
        /// The revision whose policy is to be restored, as `policy history`
        /// shows it.
        #[arg(value_parser = parse_revision)]
        revision: u64,
        /// Only say what would be changed.
        #[arg(long)]
        dry_run: bool,
        /// Delete what was made since without asking.
        #[arg(short, long)]
        yes: bool,
    },
    /// Prints the JSON Schema of policy files, for editors.
    Schema,
}

/// Which files to compare with.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    files: Files,
    /// Count what the files do not name as deleted.
    #[arg(long)]
    prune: bool,
    /// Exit with 3 when there is a difference.
    #[arg(long)]
    exit_code: bool,
}

/// What to print of the policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// With passwords of upstreams, and hashes of passwords and of logins'
    /// secrets: a backup that another store can be filled with.
    #[arg(long)]
    with_secrets: bool,
}

/// Where a policy is declared.
#[derive(Debug, clap::Args)]
pub(crate) struct Files {
    /// A policy file, a directory of them, or `-` for stdin; repeatable.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    match command {
        Command::Apply(wanted) => apply(wanted, settings, output).await,
        Command::Diff(wanted) => diff(wanted, settings, output).await,
        Command::Export(wanted) => export(wanted, settings, output).await,
        Command::History { last } => history(last, settings, output).await,
        Command::Rollback {
            revision,
            dry_run,
            yes,
        } => {
            let client = Client::connect(settings).await?;
            let mut manner = Manner {
                prune: false,
                dry_run,
                unchanged_since: None,
            };
            if !dry_run && !yes {
                let preview = Manner {
                    dry_run: true,
                    ..manner
                };
                let planned = client.rollback(revision, preview).await?;
                apply::confirm("the rollback", &planned, output)?;
                manner.unchanged_since = planned.revision;
            }
            let outcome = client.rollback(revision, manner).await?;
            output.warn(&outcome.warnings);
            tell(&outcome, dry_run, output)
        }
        Command::Schema => output.text(&schema()?),
    }
}

pub(crate) async fn diff(
    wanted: Diff,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let files = PolicyFiles::read(&wanted.files.files)?;
    let client = Client::connect(settings).await?;
    let compared = client.diff(files.declaration(), wanted.prune).await;
    let outcome = located(compared, &files)?;
    tell(&outcome, true, output)?;
    match wanted.exit_code && !outcome.changes.is_empty() {
        true => Err(Failure::Differs.into()),
        false => Ok(()),
    }
}

pub(crate) async fn export(
    wanted: Export,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    let declaration = match wanted.with_secrets {
        true => client.backup().await?,
        false => client.export().await?,
    };
    if wanted.with_secrets {
        output.note("This holds secrets: keep it where no one else reads it.");
    }
    let text = match settings.format {
        Format::Json => serde_json::to_string_pretty(&declaration).context("cannot write JSON")?,
        Format::Table | Format::Yaml | Format::Policy => {
            serde_saphyr::to_string(&declaration).context("cannot write YAML")?
        }
    };
    output.text(&text)
}

async fn history(last: u32, settings: &Settings, output: &mut Output<'_>) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    let mut changes = client.history(last).await?;
    let mut entries = Vec::new();
    while let Some(change) = changes.next().await? {
        HistoryEntry::add(&mut entries, change);
    }
    output.list(&entries)
}

/// Prints what was changed, or would be.
fn tell(outcome: &Outcome, is_dry_run: bool, output: &mut Output<'_>) -> anyhow::Result<()> {
    let summary = match (outcome.changes.is_empty(), is_dry_run) {
        (true, _) => "Nothing to change.".to_owned(),
        (false, true) => format!("Would change: {}.", outcome.counts()),
        (false, false) => {
            let revision = Revision::text(outcome.revision);
            format!("Changed in revision {revision}: {}.", outcome.counts())
        }
    };
    output.record(outcome, &format!("{}{summary}", outcome.lines()))
}

/// An error about a field is one about a place in the files.
fn located<T>(result: anyhow::Result<T>, files: &PolicyFiles) -> anyhow::Result<T> {
    result.map_err(|error| match error.downcast_ref() {
        Some(Failure::InvalidField { field, reason }) => {
            let start = format!("{field}: ");
            files.fault(field, reason.strip_prefix(&start).unwrap_or(reason))
        }
        _ => error,
    })
}

/// The number of a revision. With its epoch it may be one of another store.
fn parse_revision(text: &str) -> Result<u64, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    match text.split_once('/') {
        Some((_, after)) if number(after).is_some() => {
            Err(format!("give the number alone: {after}"))
        }
        _ => number(text).ok_or_else(|| "it is a number, as `policy history` shows it".into()),
    }
}

/// Of the draft that editors know best.
fn schema() -> anyhow::Result<String> {
    let generator = SchemaSettings::draft07().into_generator();
    let schema = generator.into_root_schema_for::<Declaration>();
    serde_json::to_string_pretty(&schema).context("cannot write JSON")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn a_revision_is_a_number_and_who_gives_its_epoch_is_told_which() {
        assert_eq!(parse_revision("4"), Ok(4));
        let told = parse_revision("0a88f9dd75dc5563/4").unwrap_err();
        assert!(told.ends_with("alone: 4"), "{told}");
        assert!(parse_revision("latest").unwrap_err().contains("history"));
    }

    #[test]
    fn the_checked_in_schema_is_the_one_that_is_printed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.schema.json");
        let fresh = schema().unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &fresh).unwrap();
        }

        let checked_in = fs::read_to_string(&path).unwrap_or_default();

        assert!(
            checked_in == fresh,
            "docs/policy.schema.json is stale: run UPDATE=1 cargo test -p metahub-cli schema"
        );
    }
}
