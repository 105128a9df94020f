//! Blobs on disk, shared by the workers of a host.
//!
//! The cache keeps verified blobs only. It verifies a blob again at each whole
//! read, and beside reads of parts. One worker writes a blob that comes from an
//! upstream; other clients of that upstream's repository read the growing file
//! meanwhile. Another repository or upstream is served from the file only after
//! it has sent the blob once itself, so it cannot be slowed down or given wrong
//! bytes by the first one. The caller checks access at each request.
//!
//! Nothing here fails a pull: what the disk does not give comes from the
//! upstream.

mod census;
mod checks;
mod directory;
mod files;
mod fill;
mod ledger;
mod metrics;
mod proofs;
mod reading;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, warn};

pub(crate) use self::metrics::{CacheMetrics, Cause, Outcome};
use self::{
    checks::Checks,
    directory::{Claim, Claimed, Directory, Found},
    fill::{Fill, Growth},
};
pub(super) use self::{
    fill::Held,
    reading::{FileBody, Reading},
};
use super::transfer::Transfer;
use crate::{reference::Digest, upstream::Origin};

/// How long nothing is written after that has failed.
const REST: Duration = Duration::from_secs(30);
/// How many blobs are read to their end with no client left to read for.
const MOST_DESERTED: usize = 16;
/// How many files are read at the same moment. Most reads are from memory.
const MOST_READS: usize = 16;

/// Where blobs are kept, and how much of them.
#[derive(Clone, Debug)]
pub(crate) struct BlobDirectory {
    /// The directory.
    pub(crate) path: PathBuf,
    /// What it may hold, in bytes.
    pub(crate) capacity: u64,
}

impl BlobDirectory {
    /// Fails for a directory that others could put something into. One that
    /// cannot be used for now is tried again later.
    pub(crate) fn check(&self) -> io::Result<()> {
        match files::check_directory(&self.path()) {
            Err(fault) if fault.kind() == io::ErrorKind::InvalidInput => Err(fault),
            _ => Ok(()),
        }
    }

    /// Without a slash at the end, which would follow a symbolic link.
    fn path(&self) -> PathBuf {
        self.path.components().collect()
    }
}

/// The blobs on disk.
#[derive(Debug)]
pub(super) struct BlobCache {
    directory: Directory,
    /// What this worker writes now.
    fills: DashMap<(Digest, Origin), Arc<Fill>, ahash::RandomState>,
    pub(super) metrics: CacheMetrics,
    rests_until: Mutex<Option<Instant>>,
    has_warned: AtomicBool,
    deserted: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    checks: Checks,
}

impl BlobCache {
    /// The blobs in a directory, which need not exist.
    pub(super) fn new(place: &BlobDirectory, metrics: CacheMetrics) -> Self {
        let path = place.path();
        Self {
            directory: Directory::new(path, place.capacity, metrics.clone()),
            fills: DashMap::default(),
            metrics,
            rests_until: Mutex::new(None),
            has_warned: AtomicBool::new(false),
            deserted: Arc::new(Semaphore::new(MOST_DESERTED)),
            reads: Arc::new(Semaphore::new(MOST_READS)),
            checks: Checks::default(),
        }
    }

    /// Takes away what dead workers have left.
    pub(super) async fn sweep(self: &Arc<Self>) {
        self.blocking(Cause::Write, |it| it.directory.sweep()).await;
    }

    /// What `origin` has of a blob on disk: all of it, or what comes of it.
    pub(super) async fn find(self: &Arc<Self>, digest: &Digest, origin: Origin) -> Option<Held> {
        let wanted = (digest.clone(), origin);
        if let Some(held) = self.fills.get(&wanted).and_then(|fill| fill.join()) {
            return Some(held);
        }
        let find = move |it: &Self| it.directory.find(&wanted.0, wanted.1);
        let found = self.blocking(Cause::Read, find).await?;
        let (file, length, growth) = match found? {
            Found::Stored { file, length } => (file, length, Growth::Whole),
            Found::Growing { file, length } => (file, length, Growth::Elsewhere),
        };
        Some(Held::new(Arc::new(file), length, growth))
    }

    /// Whether it takes blobs.
    pub(super) fn is_well(&self) -> bool {
        let until = *self.rests_until();
        until.is_none_or(|until| until <= Instant::now())
    }

    /// Writes a blob of `length` bytes as it comes from an upstream. Gives
    /// `transfer` back if it cannot; drops it if somebody else has begun.
    pub(super) async fn begin(
        self: &Arc<Self>,
        (digest, origin): (&Digest, Origin),
        length: u64,
        transfer: Transfer,
    ) -> Result<Held, Box<Transfer>> {
        if length == 0 || !self.is_well() {
            return Err(Box::new(transfer));
        }
        let wanted = (digest.clone(), origin);
        let claim = {
            let (digest, origin) = wanted.clone();
            move |it: &Self| it.directory.claim(&digest, origin, length)
        };
        match self.blocking(Cause::Write, claim).await {
            Some(Claimed::Claim(claim)) => Ok(self.fill(wanted, length, claim, transfer)),
            Some(Claimed::Taken) => {
                let begun = self.find(digest, origin).await;
                let begun = begun.filter(|held| held.length == length);
                begun.ok_or(Box::new(transfer))
            }
            Some(Claimed::NoRoom) => {
                self.metrics.failed(Cause::NoRoom);
                Err(Box::new(transfer))
            }
            None => Err(Box::new(transfer)),
        }
    }

    fn fill(
        self: &Arc<Self>,
        wanted: (Digest, Origin),
        length: u64,
        claim: Claim,
        transfer: Transfer,
    ) -> Held {
        let (fill, held) = Fill::new(Arc::clone(&claim.file), length);
        let fill = Arc::new(fill);
        self.fills.insert(wanted.clone(), Arc::clone(&fill));
        let filling = fill.run(Arc::clone(self), wanted, claim, transfer);
        tokio::spawn(filling.in_current_span());
        held
    }

    /// Takes a blob away that is not what its name says.
    pub(super) async fn discard(self: &Arc<Self>, digest: &Digest) {
        self.metrics.failed(Cause::Corrupt);
        warn!(%digest, "a file of the blob cache is not what its name says; it is removed");
        self.remove(digest.clone()).await;
    }

    /// Takes a blob away, if it is there.
    pub(super) async fn remove(self: &Arc<Self>, digest: Digest) {
        self.blocking(Cause::Write, move |it| it.directory.remove(&digest))
            .await;
    }

    async fn keep(self: &Arc<Self>, claim: Claim) {
        let kept = self.blocking(Cause::Write, |it| it.directory.keep(claim));
        if kept.await.is_some() {
            self.has_warned.store(false, Relaxed);
        }
    }

    /// Does what blocks elsewhere. None: it failed, which has been dealt with.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        cause: Cause,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let cache = Arc::clone(self);
        match blocking(move || work(&cache)).await {
            Ok(done) => Some(done),
            Err(error) => {
                self.failed(cause, &error);
                None
            }
        }
    }

    fn failed(&self, cause: Cause, error: &io::Error) {
        self.metrics.failed(cause);
        if cause == Cause::Write {
            *self.rests_until() = Some(Instant::now() + REST);
        }
        if self.has_warned.swap(true, Relaxed) {
            debug!(?cause, %error, "the blob cache fails");
        } else {
            warn!(?cause, %error, "the blob cache fails; blobs come from their upstreams");
        }
    }

    fn rests_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Fills `buffer` from `position` on, as far as the file goes.
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
