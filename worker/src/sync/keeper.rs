//! Keeps the served policy in a file, and brings it back at the next start.
//!
//! Written in the background: soon after a change, and now and then to note
//! that the control plane was heard. A file that cannot be written is warned
//! of, and nothing else suffers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use metahub_proto::policy::v1 as proto;
use prost::Message as _;
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::sealed::{Kept, SealedFile};
use crate::snapshot::{Current, Revision};

/// The least time between two writes.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the file is written when nothing changes.
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// Keeps the policy.
#[derive(Debug)]
pub(crate) struct Keeper {
    file: SealedFile,
    current: Arc<Current>,
    held: Mutex<Held>,
    changed: Notify,
}

/// The records as they came, by key. Those of a kind that this program does not
/// know are kept, too.
#[derive(Debug, Default)]
struct Held {
    revision: Option<Revision>,
    records: BTreeMap<String, Bytes>,
}

impl Keeper {
    /// Keeps in `file` what `current` serves.
    pub(crate) fn new(file: SealedFile, current: Arc<Current>) -> Self {
        Self {
            file,
            current,
            held: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What an earlier run has kept. A file that is of no use is left alone
    /// until there is something better.
    pub(crate) fn read(&self) -> Option<Kept> {
        self.file
            .read()
            .inspect_err(|error| warn!("start without the kept policy: {error}"))
            .unwrap_or_default()
    }

    /// `revision` is served, and `state` is what it was read from.
    pub(crate) fn whole(&self, revision: Revision, state: Bytes) {
        let Ok(state) = proto::State::decode(state) else {
            return;
        };
        self.hold(|held| {
            held.records = state.records.into_iter().filter_map(keyed).collect();
            held.revision = Some(revision);
        });
    }

    /// `revision` is served, and `delta` has led to it.
    pub(crate) fn change(&self, revision: Revision, delta: Bytes) {
        let Ok(delta) = proto::Delta::decode(delta) else {
            return;
        };
        self.hold(|held| {
            for key in delta.deleted {
                held.records.remove(&key);
            }
            held.records.extend(delta.put.into_iter().filter_map(keyed));
            held.revision = Some(revision);
        });
    }

    /// Writes until `shutdown` is cancelled, and then once more.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let change = timeout(REFRESH, self.changed.notified());
            let goes_on = shutdown.run_until_cancelled(change).await.is_some();
            self.clone().write().await;
            if !goes_on {
                return;
            }
            shutdown.run_until_cancelled(sleep(PAUSE)).await;
        }
    }

    async fn write(self: Arc<Self>) {
        let silence = self.current.silence();
        let written = spawn_blocking(move || {
            let heard = SystemTime::now().checked_sub(silence);
            let kept = self.lock().kept(heard.unwrap_or(SystemTime::UNIX_EPOCH));
            kept.map_or(Ok(()), |kept| self.file.write(&kept))
        });
        if let Ok(Err(error)) = written.await {
            warn!("the policy is not kept: {error}");
        }
    }

    fn hold(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An encoded record with its key.
fn keyed(encoded: Bytes) -> Option<(String, Bytes)> {
    let record = proto::Record::decode(encoded.clone()).ok()?;
    Some((record.key, encoded))
}

impl Held {
    fn kept(&self, heard: SystemTime) -> Option<Kept> {
        let state = proto::State {
            records: self.records.values().cloned().collect(),
        };
        Some(Kept {
            revision: self.revision?,
            heard,
            state: state.encode_to_vec(),
        })
    }
}
