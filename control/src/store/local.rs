//! A store that this process has for itself: SQLite, in a file or in memory.
//!
//! Blocking work is done on the runtime's blocking threads.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::interval,
};
use tracing::{error, info};

use crate::audit::AuditRecord;

use super::{
    Batch, Commit, Contents, News, OnEmpty, Revision, StoreError, WATCH_BACKLOG, sqlite::Sqlite,
    whole::Whole,
};

/// How often it is looked whether the file is still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Local {
    engine: Arc<Mutex<Engine>>,
    gone_since: watch::Receiver<Option<Instant>>,
}

#[derive(Debug)]
struct Engine {
    sqlite: Sqlite,
    watcher: Option<mpsc::Sender<News>>,
}

impl Local {
    /// Opens the file, and creates or migrates it where needed.
    pub(super) async fn open(path: PathBuf, on_empty: OnEmpty) -> Result<Self, StoreError> {
        Self::with(move || Sqlite::open(&path, on_empty)).await
    }

    pub(super) async fn in_memory() -> Result<Self, StoreError> {
        Self::with(Sqlite::in_memory).await
    }

    async fn with(
        open: impl FnOnce() -> Result<Sqlite, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let opened = spawn_blocking(open).await;
        let engine = Engine {
            sqlite: opened.map_err(|_| StoreError::Closed)??,
            watcher: None,
        };
        let engine = Arc::new(Mutex::new(engine));
        let (gone, gone_since) = watch::channel(None);
        tokio::spawn(look(Arc::downgrade(&engine), gone));
        Ok(Self { engine, gone_since })
    }

    /// Since when the file is not there any more. `None`: it is there.
    pub(super) fn silence(&self) -> watch::Receiver<Option<Instant>> {
        self.gone_since.clone()
    }

    pub(super) async fn load(&self) -> Result<Contents, StoreError> {
        self.blocking(|engine| engine.sqlite.load()).await
    }

    /// Puts everything where nothing may be.
    pub(super) async fn fill(&self, whole: Whole) -> Result<(), StoreError> {
        self.blocking(move |engine| engine.sqlite.fill(&whole))
            .await
    }

    pub(super) async fn watch(&self) -> Result<(Contents, mpsc::Receiver<News>), StoreError> {
        self.blocking(|engine| {
            let (sender, receiver) = mpsc::channel(WATCH_BACKLOG);
            engine.watcher = Some(sender);
            Ok((engine.sqlite.load()?, receiver))
        })
        .await
    }

    pub(super) async fn commit(&self, expected: u64, batch: Batch) -> Result<Revision, StoreError> {
        self.blocking(move |engine| engine.commit(expected, batch))
            .await
    }

    pub(super) async fn audit(
        &self,
        after_revision: u64,
        most: usize,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.blocking(move |engine| engine.sqlite.audit(after_revision, most))
            .await
    }

    pub(super) async fn audit_reach(&self) -> Result<u64, StoreError> {
        self.blocking(|engine| engine.sqlite.audit_reach()).await
    }

    pub(super) async fn sweep_audit(&self, oldest_unix_ms: u64) -> Result<usize, StoreError> {
        self.blocking(move |engine| engine.sqlite.sweep_audit(oldest_unix_ms))
            .await
    }

    pub(super) async fn status(&self, key: String) -> Result<Option<String>, StoreError> {
        self.blocking(move |engine| engine.sqlite.status(&key))
            .await
    }

    pub(super) async fn statuses(
        &self,
        start: String,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.blocking(move |engine| engine.sqlite.statuses(&start))
            .await
    }

    pub(super) async fn put_status(
        &self,
        key: String,
        value: Option<String>,
    ) -> Result<(), StoreError> {
        self.blocking(move |engine| engine.sqlite.put_status(&key, value.as_deref()))
            .await
    }

    /// What another control plane would do between two steps of this one.
    #[cfg(test)]
    pub(super) fn commit_on_another_thread(&self, expected: u64, batch: Batch) {
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
            let commit = Commit {
                revision,
                changes: batch.changes.into(),
            };
            // A watcher that is gone misses nothing.
            let _ = watcher.blocking_send(News::Commit(commit));
        }
        Ok(revision)
    }
}

/// Looks whether the file is still there, until the store is closed.
async fn look(engine: Weak<Mutex<Engine>>, gone: watch::Sender<Option<Instant>>) {
    let mut ticks = interval(LOOK_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let looked = spawn_blocking(move || lock(&engine).sqlite.check_identity()).await;
        let before = *gone.borrow();
        match (looked, before) {
            (Ok(Err(error)), None) => {
                error!("{error}");
                gone.send_replace(Some(Instant::now()));
            }
            (Ok(Ok(())), Some(_)) => {
                info!("the database is back");
                gone.send_replace(None);
            }
            _ => {}
        }
    }
}

/// SQLite rolls a half-done transaction back, so a poisoned lock harms nothing.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}
