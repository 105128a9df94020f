//! Files that are looked through, since only parts of them are read.
//!
//! A part cannot be verified by itself. So the whole file is hashed beside its
//! readers, who wait for nothing: a client that has put a rotten part to its
//! others finds out, and gets a good one at its next try.

use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::{BlobCache, Held, blocking, metrics::Cause, read_at};
use crate::{reference::Digest, upstream::hash::Hasher};

/// What is hashed at a time, in bytes.
const PIECE: usize = 128 << 10;
/// How long a file is believed to be what it was.
const BELIEVED: Duration = Duration::from_secs(600);

/// What has been looked through.
#[derive(Debug)]
pub(super) struct Checks {
    /// When each was last found to be good.
    good: Mutex<HashMap<Digest, Instant>>,
    /// One file at a time. What has to wait is looked at when it is read again.
    turn: Arc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            good: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Checks {
    /// Notes that a whole file has been read, and was good.
    pub(super) fn found_good(&self, digest: &Digest) {
        let mut good = self.good();
        good.retain(|_, at| at.elapsed() < BELIEVED);
        good.insert(digest.clone(), Instant::now());
    }

    fn is_due(&self, digest: &Digest) -> bool {
        let good = self.good();
        good.get(digest).is_none_or(|at| at.elapsed() >= BELIEVED)
    }

    fn good(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobCache {
    /// Looks through what is stored, which an upstream says to be otherwise.
    pub(in crate::upstream::blob) fn doubt(self: &Arc<Self>, digest: &Digest, held: &Held) {
        self.check(digest, &held.file);
    }

    /// Looks through a stored `file` if that is due, and takes it away if it is
    /// not what its name says. Waits for nothing.
    pub(super) fn check(self: &Arc<Self>, digest: &Digest, file: &Arc<File>) {
        if !self.checks.is_due(digest) {
            return;
        }
        let Ok(turn) = Arc::clone(&self.checks.turn).try_acquire_owned() else {
            return;
        };
        let (cache, digest, file) = (Arc::clone(self), digest.clone(), Arc::clone(file));
        let checking = async move {
            let hashed = hashed(digest.clone(), file, u64::MAX).await;
            match hashed.map(|hasher| hasher.is_complete()) {
                Ok(true) => cache.checks.found_good(&digest),
                Ok(false) => cache.discard(&digest).await,
                Err(error) => cache.failed(Cause::Read, &error),
            }
            drop(turn);
        };
        tokio::spawn(checking.in_current_span());
    }
}

/// What the bytes of `file` hash to, up to `end` or as far as it goes.
pub(super) async fn hashed(digest: Digest, file: Arc<File>, end: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new(digest);
    let hashing = move || {
        let (mut buffer, mut at) = (vec![0; PIECE], 0);
        while at < end {
            let left = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
            let read = read_at(&file, &mut buffer[..left], at)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
        }
        Ok(hasher)
    };
    blocking(hashing).await
}
