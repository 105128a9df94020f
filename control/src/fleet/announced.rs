//! What control planes over one store tell each other of their workers.
//!
//! It is coarse, and gone some seconds after the one that told it: enough for
//! lists, and for whoever waits until all workers serve a revision.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Fleet, Identity, Member};
use crate::{Catalog, Revision};

/// How often the own workers are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many workers are told of in one piece.
const PIECE: usize = 2_000;

/// A worker of another control plane.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    id: String,
    version: String,
    registry_address: String,
    peer: Option<std::net::SocketAddr>,
    connected: bool,
    since_unix_ms: u64,
    /// Epoch and number.
    applied: Option<(u64, u64)>,
    digest: Option<[u8; metahub_policy::StateDigest::SIZE]>,
    mismatches: u64,
    mismatch: Option<String>,
    rejected: Option<String>,
    #[serde(default)]
    doubled: bool,
}

/// Tells the other control planes of the own workers, until `shutdown`.
pub(crate) async fn announce(fleet: Fleet, catalog: Catalog, shutdown: CancellationToken) {
    if !catalog.is_shared() {
        return;
    }
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let members = fleet.list();
        let pieces = members.chunks(PIECE).map(|members| {
            let rows: Vec<Row> = members.iter().map(Row::of).collect();
            serde_json::to_vec(&rows).unwrap_or_default()
        });
        if let Err(error) = catalog.announce(pieces.collect()).await {
            debug!("cannot tell the other control planes of the workers here: {error}");
        }
    }
}

/// The `own` workers and those that others told of. Of two that are the same
/// worker, the one whose stream is open, or was last.
pub(crate) fn everyone(own: Vec<Member>, announced: &[Vec<u8>]) -> Vec<Member> {
    let others = announced.iter().flat_map(|piece| {
        // One from a newer program may tell what this one cannot read.
        serde_json::from_slice::<Vec<Row>>(piece).unwrap_or_default()
    });
    let mut by_id = BTreeMap::new();
    for member in own.into_iter().chain(others.map(Member::from)) {
        match by_id.entry(member.identity.id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(member);
            }
            Entry::Occupied(mut entry) => {
                let known: &Member = entry.get();
                // One that moved is lost here within seconds.
                let both = member.is_settled() && known.is_settled();
                let doubled = both.then(Instant::now).or(known.doubled).or(member.doubled);
                if (member.connected, member.since) > (known.connected, known.since) {
                    entry.insert(member);
                }
                entry.get_mut().doubled = doubled;
            }
        }
    }
    by_id.into_values().collect()
}

impl Member {
    /// Whether it has been connected for longer than a lost stream stays
    /// unnoticed.
    fn is_settled(&self) -> bool {
        self.connected && self.since_instant.elapsed() > Duration::from_secs(10)
    }
}

impl Row {
    fn of(member: &Member) -> Self {
        let since = member.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: member.identity.id.clone(),
            version: member.identity.version.clone(),
            registry_address: member.identity.registry_address.clone(),
            peer: member.identity.peer,
            connected: member.connected,
            since_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            applied: member.applied.map(|it| (it.epoch, it.number)),
            digest: member.digest.map(|it| it.to_bytes()),
            mismatches: member.mismatches,
            mismatch: member.mismatch.clone(),
            rejected: member.rejected.clone(),
            doubled: member.is_doubled(),
        }
    }
}

impl From<Row> for Member {
    fn from(row: Row) -> Self {
        let since = UNIX_EPOCH + Duration::from_millis(row.since_unix_ms);
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        let now = Instant::now();
        Self {
            identity: Identity {
                id: row.id,
                version: row.version,
                registry_address: row.registry_address,
                peer: row.peer,
            },
            connected: row.connected,
            since,
            applied: row
                .applied
                .map(|(epoch, number)| Revision { epoch, number }),
            digest: row
                .digest
                .and_then(|it| metahub_policy::StateDigest::from_bytes(&it)),
            mismatches: row.mismatches,
            mismatch: row.mismatch,
            rejected: row.rejected,
            doubled: row.doubled.then_some(now),
            next_base: None,
            since_instant: now.checked_sub(age).unwrap_or(now),
            session: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: &str) -> Identity {
        Identity {
            id: id.into(),
            version: "0.1.0".into(),
            registry_address: "127.0.0.1:5000".into(),
            peer: None,
        }
    }

    fn told(fleet: &Fleet) -> Vec<u8> {
        let rows: Vec<Row> = fleet.list().iter().map(Row::of).collect();
        serde_json::to_vec(&rows).unwrap()
    }

    #[test]
    fn workers_of_other_control_planes_are_listed_with_the_own() {
        let (here, there) = (Fleet::default(), Fleet::default());
        let held = Revision {
            epoch: 7,
            number: 3,
        };
        let _own = here.join(identity("w1"), None);
        let _other = there.join(identity("w2"), Some(held));

        let all = everyone(here.list(), &[told(&there)]);

        let shown: Vec<_> = all
            .iter()
            .map(|it| (it.identity.id.as_str(), it.connected, it.applied))
            .collect();
        assert_eq!(shown, [("w1", true, None), ("w2", true, Some(held))]);
    }

    #[test]
    fn a_worker_that_has_moved_is_listed_once_where_it_is() {
        let (here, there) = (Fleet::default(), Fleet::default());
        drop(here.join(identity("w1"), None));
        let _moved = there.join(identity("w1"), None);

        let all = everyone(here.list(), &[told(&there)]);

        assert_eq!(all.len(), 1);
        assert!(all[0].connected);
    }

    #[test]
    fn what_cannot_be_read_hides_no_own_worker() {
        let here = Fleet::default();
        let _own = here.join(identity("w1"), None);

        let all = everyone(here.list(), &[b"from the future".to_vec()]);

        assert_eq!(all.len(), 1);
    }
}
