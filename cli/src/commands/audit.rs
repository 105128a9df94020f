//! `metahubctl audit`: who changed what, from where and when.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::{
    client::{AuditStart, Client},
    config::Settings,
    failure::Failure,
    output::Output,
};

/// How long to wait before a lost control plane is tried again.
const RETRY: Duration = Duration::from_secs(1);

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
        Command::Tail(wanted) if wanted.follow => {
            follow(client, wanted.start(), settings, output).await?;
        }
        Command::Tail(wanted) => {
            let mut tail = client.audit(wanted.start(), false).await?;
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

/// Prints changes for ever. When the control plane is lost, it goes on with
/// what comes after the last one, once there is one again.
async fn follow(
    client: Client,
    start: AuditStart,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let mut follower = Follower {
        start,
        revision: 0,
        printed: 0,
    };
    let mut client = Some(client);
    loop {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(settings).await,
        };
        let lost = match connected {
            Ok(client) => follower.print(&client, output).await,
            Err(error) => Err(error),
        };
        match lost {
            Err(error) if !error.downcast_ref().is_some_and(Failure::may_pass) => {
                return Err(error);
            }
            _ => {}
        }
        sleep(RETRY).await;
    }
}

/// What a follower has printed.
struct Follower {
    start: AuditStart,
    /// The last revision of which something is printed.
    revision: u64,
    /// How many of its changes are.
    printed: usize,
}

impl Follower {
    async fn print(&mut self, client: &Client, output: &mut Output<'_>) -> anyhow::Result<()> {
        let mut tail = client.audit(self.start, true).await?;
        let mut known = self.printed;
        while let Some(change) = tail.next().await? {
            if change.revision != self.revision {
                (self.revision, self.printed, known) = (change.revision, 0, 0);
                // The revision may be cut: it is asked for again as a whole.
                self.start = AuditStart::After(change.revision.saturating_sub(1));
            }
            if known > 0 {
                known -= 1;
                continue;
            }
            output.line(&change, &change.line())?;
            self.printed += 1;
        }
        Ok(())
    }
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
