//! Keeps the records: load all, commit at an expected revision, watch.
//!
//! The interface is as small as it is so that other engines fit behind it.
//! SQLite is the only one so far. A commit is durable before it is reported.
//! Blocking work is done on the runtime's blocking threads.

mod schema;
mod sqlite;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::mpsc, task::spawn_blocking};

use self::sqlite::Sqlite;
use crate::records::{Key, Record};

/// How many commits may wait for a watcher before a writer waits for it.
const WATCH_BACKLOG: usize = 64;

/// A place in the history of the policy. Two compare only within one epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Names one history: drawn at random when a store is created.
    pub epoch: u64,
    /// Grows by one with each commit.
    pub number: u64,
}

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// `sqlite:PATH`: one SQLite file.
    Sqlite(PathBuf),
    /// `memory`: nowhere. For the static mode and tests.
    Memory,
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store has moved past the expected revision. Plan anew.
    #[error("the store has moved on from revision {expected}")]
    Conflict {
        /// What the writer expected.
        expected: u64,
    },

    /// SQLite failed.
    #[error("sqlite failed")]
    Sqlite(#[from] rusqlite::Error),

    /// The file or its directory cannot be used.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// Another control plane has the file open.
    #[error("another control plane uses {path}; stop it, or give this one its own --data-dir")]
    InUse {
        /// The file.
        path: PathBuf,
    },

    /// The file was written by a newer program.
    #[error("the store has schema {found}, this program knows up to {known}: use a newer one")]
    TooNew {
        /// The file's schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },

    /// A record cannot be read or written.
    #[error("the record {key} is not what this program writes")]
    Record {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },

    /// A key is of no known kind.
    #[error("the key {key} is of no kind that this program knows")]
    UnknownKey {
        /// The key.
        key: String,
    },

    /// The program is about to end.
    #[error("the store is closed")]
    Closed,
}

/// One change of a record. `None` before: it is new; `None` after: it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Record>>,
    pub(crate) after: Option<Arc<Record>>,
}

/// Changes that are committed together or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// Who makes the changes, for the audit.
    pub(crate) actor: String,
    /// What they do, for example `type.create`.
    pub(crate) action: &'static str,
    /// One for each key, at least one.
    pub(crate) changes: Vec<Change>,
}

/// A batch that is durable, and the revision that it led to.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) revision: Revision,
    pub(crate) changes: Arc<[Change]>,
}

/// Everything that the store holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) revision: Revision,
    pub(crate) records: Vec<(Key, Record)>,
    /// The keys that changed lately, by the number of the revision, oldest
    /// first. Complete from the first of them on.
    pub(crate) recent: Vec<(u64, Vec<Key>)>,
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    engine: Arc<Mutex<Engine>>,
}

#[derive(Debug)]
struct Engine {
    sqlite: Sqlite,
    watcher: Option<mpsc::Sender<Commit>>,
}

impl Store {
    /// Opens the store, and creates or migrates it where needed.
    pub(crate) async fn open(location: StoreLocation) -> Result<Self, StoreError> {
        let opened = spawn_blocking(move || match location {
            StoreLocation::Sqlite(path) => Sqlite::open(&path),
            StoreLocation::Memory => Sqlite::in_memory(),
        });
        let sqlite = opened.await.map_err(|_| StoreError::Closed)??;
        Ok(Self {
            engine: Arc::new(Mutex::new(Engine {
                sqlite,
                watcher: None,
            })),
        })
    }

    /// Reads everything, and from then on tells of each commit, in order and
    /// without a gap. There is one watcher; a later one takes its place.
    pub(crate) async fn watch(&self) -> Result<(Contents, mpsc::Receiver<Commit>), StoreError> {
        self.blocking(|engine| {
            let (sender, receiver) = mpsc::channel(WATCH_BACKLOG);
            engine.watcher = Some(sender);
            Ok((engine.sqlite.load()?, receiver))
        })
        .await
    }

    /// Makes `batch` durable if the store is still at `expected`.
    ///
    /// Runs to its end also when the caller no longer waits.
    pub(crate) async fn commit(&self, expected: u64, batch: Batch) -> Result<Revision, StoreError> {
        self.blocking(move |engine| engine.commit(expected, batch))
            .await
    }

    /// What another control plane would do between two steps of this one.
    #[cfg(test)]
    pub(crate) fn commit_on_another_thread(&self, expected: u64, batch: Batch) {
        let engine = self.engine.clone();
        let other = std::thread::spawn(move || lock(&engine).commit(expected, batch));
        other.join().unwrap().unwrap();
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let engine = self.engine.clone();
        spawn_blocking(move || work(&mut lock(&engine)))
            .await
            .map_err(|_| StoreError::Closed)?
    }
}

impl Engine {
    fn commit(&mut self, expected: u64, batch: Batch) -> Result<Revision, StoreError> {
        let revision = self.sqlite.commit(expected, &batch)?;
        if let Some(watcher) = &self.watcher {
            // A watcher that is gone misses nothing.
            let _ = watcher.blocking_send(Commit {
                revision,
                changes: batch.changes.into(),
            });
        }
        Ok(revision)
    }
}

/// SQLite rolls a half-done transaction back, so a poisoned lock harms nothing.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoreLocation {
    /// Where the state is kept unless the operator says otherwise.
    pub(crate) fn within(data_dir: &Path) -> Self {
        Self::Sqlite(data_dir.join("metahub.db"))
    }
}

impl FromStr for StoreLocation {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err("use `sqlite:PATH` or `memory`"),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{}", self.epoch, self.number)
    }
}
