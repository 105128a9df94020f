//! Waits until the workers serve what the control plane holds.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::Client;
use crate::record::{Revision, Worker};

/// How often the control plane is asked.
const INTERVAL: Duration = Duration::from_millis(20);

impl Client {
    /// Waits until every connected worker, and `least` at least, serves the
    /// newest policy.
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
                     {connected} connected, behind: [{}]; see `metahubctl worker list`",
                    patience.as_secs(),
                    behind.join(", ")
                );
            }
            sleep(INTERVAL).await;
        }
    }
}

/// The connected workers that do not serve `newest`.
fn behind(workers: &[Worker], newest: Option<Revision>) -> Vec<&str> {
    let behind = workers
        .iter()
        .filter(|worker| worker.connected && worker.applied != newest);
    behind.map(|worker| worker.id.as_str()).collect()
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
            since: UNIX_EPOCH,
        }
    }

    #[test]
    fn a_lost_worker_is_not_waited_for() {
        let workers = [
            worker("lost", false, 1),
            worker("slow", true, 1),
            worker("new", true, 2),
        ];
        let newest = Some(Revision {
            epoch: 1,
            number: 2,
        });

        assert_eq!(behind(&workers, newest), ["slow"]);
    }
}
