//! Waits until the workers serve what the control plane holds.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::Client;
use crate::record::{Revision, Worker};

/// How often the control plane is asked.
const INTERVAL: Duration = Duration::from_millis(20);

impl Client {
    /// Waits until every worker, and `least` at least, serves the newest policy.
    /// One that is lost may serve an older one: it counts until it is back, has
    /// been removed, or is forgotten after an hour.
    pub(crate) async fn settled(&self, least: usize, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let (workers, newest) = self.workers().await?;
            let behind = behind(&workers, newest);
            let connected = workers.iter().filter(|worker| worker.connected).count();
            if behind.is_empty() && connected >= least {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the change is kept, but not every worker serves it after {} s: \
                     {connected} connected, in doubt: [{}]; see `metahubctl worker list`; one that \
                     is gone for good is forgotten by `metahubctl worker remove ID`",
                    patience.as_secs(),
                    behind.join(", ")
                );
            }
            sleep(INTERVAL).await;
        }
    }
}

/// The workers of which it is not known that they serve `newest`, and why.
fn behind(workers: &[Worker], newest: Option<Revision>) -> Vec<String> {
    let why = |worker: &Worker| match worker {
        _ if worker.doubled => Some("two workers have this id"),
        _ if worker.applied == newest => None,
        _ if worker.connected => Some("behind"),
        _ => Some("lost, and may serve the former policy"),
    };
    let behind = workers
        .iter()
        .filter_map(|worker| Some(format!("{}: {}", worker.id, why(worker)?)));
    behind.collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn worker(id: &str, connected: bool, number: u64) -> Worker {
        Worker {
            id: id.into(),
            version: "1".into(),
            registry_address: String::new(),
            peer_address: String::new(),
            connected,
            applied: Some(Revision { epoch: 1, number }),
            lag_ms: 0,
            rejected_reason: String::new(),
            digest: String::new(),
            mismatches: 0,
            mismatch: String::new(),
            doubled: false,
            since: UNIX_EPOCH,
        }
    }

    #[test]
    fn a_worker_that_is_lost_or_doubled_is_not_known_to_serve_the_newest() {
        let mut doubled = worker("twin", true, 2);
        doubled.doubled = true;
        let workers = [
            worker("lost", false, 1),
            worker("slow", true, 1),
            worker("new", true, 2),
            worker("late", false, 2),
            doubled,
        ];
        let newest = Some(Revision {
            epoch: 1,
            number: 2,
        });

        assert_eq!(
            behind(&workers, newest),
            [
                "lost: lost, and may serve the former policy",
                "slow: behind",
                "twin: two workers have this id"
            ]
        );
    }
}
