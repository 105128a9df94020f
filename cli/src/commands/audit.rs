//! `metahubctl audit`: who changed what, from where and when.

use std::time::{Duration, SystemTime};

use crate::{
    client::{AuditStart, Client},
    config::Settings,
    output::Output,
};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prints the latest changes, one a line.
    Tail(Tail),
    /// Prints every change that is kept, as one line of JSON each.
    Export,
}

/// Which changes to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// Those no older than this, for example `1h` or `7days`.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, conflicts_with_all = ["after", "last"])]
    since: Option<Duration>,
    /// Those after this revision.
    #[arg(long, value_name = "REVISION", conflicts_with = "last")]
    after: Option<u64>,
    /// Those of the last so many revisions.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    last: u32,
    /// Stay, and print changes as they are made.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(
    command: Command,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let client = Client::connect(settings).await?;
    match command {
        Command::Tail(wanted) => {
            let mut tail = client.audit(wanted.start(), wanted.follow).await?;
            while let Some(change) = tail.next().await? {
                output.line(&change, &change.line())?;
            }
        }
        Command::Export => {
            let mut tail = client.audit(AuditStart::Oldest, false).await?;
            while let Some(change) = tail.next().await? {
                output.json_line(&change)?;
            }
        }
    }
    Ok(())
}

impl Tail {
    fn start(&self) -> AuditStart {
        match (self.since, self.after) {
            (Some(age), _) => AuditStart::Since(
                SystemTime::now()
                    .checked_sub(age)
                    .unwrap_or(SystemTime::UNIX_EPOCH),
            ),
            (None, Some(revision)) => AuditStart::After(revision),
            (None, None) => AuditStart::Last(self.last),
        }
    }
}
