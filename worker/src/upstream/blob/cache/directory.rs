//! The directory that several workers of one host keep blobs in.
//!
//! A blob is `<root>/<algorithm>/<first two digits>/<hex>`. It gets there by a
//! rename, so that a file of that name is always whole. While it comes it is
//! `<hex>.<origin>.<length>.part` beside it, locked by its writer for as long as
//! that lives; what nobody holds a lock on was left by a worker that is gone.
//! `<hex>.origins` lists the repositories that have sent all of it; the blob is
//! hidden from all others.
//!
//! Whatever adds to the directory or counts it has the ledger, so that all
//! workers together keep the bound. Everything here blocks.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{
    census::{Census, Name, room_for},
    files::{check_directory, create, create_directory, open},
    ledger::{Ledger, lock},
    metrics::CacheMetrics,
    proofs,
};
use crate::{reference::Digest, upstream::Origin};

/// How many directories a blob is in: its own two, and the root.
const DEPTH: usize = 3;
/// How often what dead workers have left is looked for, at the most.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// A directory of blobs, bounded in size.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    capacity: u64,
    metrics: CacheMetrics,
    /// When it was last swept. Whoever holds this may ask for the ledger: the
    /// threads of one worker need not race for it.
    turn: Mutex<Option<Instant>>,
}

/// What a blob has in the directory.
#[derive(Debug)]
pub(super) enum Found {
    /// All of it.
    Stored {
        /// The file.
        file: File,
        /// How long it is, in bytes.
        length: u64,
    },
    /// Some of it: somebody writes it now.
    Growing {
        /// The file.
        file: File,
        /// How long it will be, in bytes.
        length: u64,
    },
}

/// What came of asking to write a blob.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It may be written.
    Claim(Claim),
    /// It is there, or somebody writes it.
    Taken,
    /// There is no room for it.
    NoRoom,
}

/// The right to write a blob, and the file for it. Dropped before it is
/// [kept](Directory::keep), nothing is left of it.
#[derive(Debug)]
pub(super) struct Claim {
    /// The file. Its lock ends with the claim, also while others read it.
    pub(super) file: Arc<File>,
    part: PathBuf,
    whole: PathBuf,
    origin: Origin,
    is_kept: bool,
}

impl Directory {
    /// The directory at `root`, which need not exist, for `capacity` bytes.
    pub(super) fn new(root: PathBuf, capacity: u64, metrics: CacheMetrics) -> Self {
        Self {
            root,
            capacity,
            metrics,
            turn: Mutex::new(None),
        }
    }

    /// What `origin` has of a blob: all of it, or what comes of it. Counts as a
    /// use of it.
    pub(super) fn find(&self, digest: &Digest, origin: Origin) -> io::Result<Option<Found>> {
        let path = self.path(digest);
        for directory in path.ancestors().skip(1).take(DEPTH) {
            check_directory(directory)?;
        }
        if let Some(found) = Self::find_stored(&path, origin)? {
            return Ok(Some(found));
        }
        match Self::find_growing(&path, origin)? {
            Some(found) => Ok(Some(found)),
            // It may have become whole after the first look.
            None => Self::find_stored(&path, origin),
        }
    }

    fn find_stored(whole: &Path, origin: Origin) -> io::Result<Option<Found>> {
        if !proofs::has(whole, origin)? {
            return Ok(None);
        }
        let Some(file) = open(whole)? else {
            return Ok(None);
        };
        // The order of eviction is worth no failure.
        let _ = file.set_modified(SystemTime::now());
        let length = file.metadata()?.len();
        Ok(Some(Found::Stored { file, length }))
    }

    fn find_growing(whole: &Path, origin: Origin) -> io::Result<Option<Found>> {
        let (Some(shelf), Some(hex)) = (whole.parent(), whole.file_name()) else {
            return Ok(None);
        };
        let entries = match fs::read_dir(shelf) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let origin = origin.to_string();
        for entry in entries {
            let name = entry?.file_name();
            let Some(Name::Part {
                hex: of,
                origin: from,
                length,
            }) = Name::parse(&name)
            else {
                continue;
            };
            if *hex != *of || origin != from {
                continue;
            }
            // None: it has become whole, or was given up.
            if let Some(file) = open(&shelf.join(&name))?.filter(is_held) {
                return Ok(Some(Found::Growing { file, length }));
            }
        }
        Ok(None)
    }

    /// Asks to write a blob of `length` bytes that comes from `origin`, and
    /// makes room for it. It is written also where others have sent it before:
    /// their file is not for this one to see.
    pub(super) fn claim(
        &self,
        digest: &Digest,
        origin: Origin,
        length: u64,
    ) -> io::Result<Claimed> {
        let whole = self.path(digest);
        let part = part_of(&whole, origin, length);
        let Some(shelf) = whole.parent() else {
            return Ok(Claimed::NoRoom);
        };
        self.with_ledger(|ledger| {
            let is_stored = proofs::has(&whole, origin)? && open(&whole)?.is_some();
            if is_stored || !remove_dead(&part)? {
                return Ok(Claimed::Taken);
            }
            if !self.make_room(ledger, room_for(length))? {
                return Ok(Claimed::NoRoom);
            }
            create_directory(shelf)?;
            let claim = Claim {
                file: Arc::new(create(&part)?),
                part: part.clone(),
                whole: whole.clone(),
                origin,
                is_kept: false,
            };
            // Somebody may just be looking whether it is locked.
            lock(&claim.file)?;
            Ok(Claimed::Claim(claim))
        })
    }

    /// Makes a blob that has been written, and verified, one of those that are
    /// found.
    pub(super) fn keep(&self, mut claim: Claim) -> io::Result<()> {
        // A crash of the host must not leave holes under a good name.
        claim.file.sync_data()?;
        // Whoever counts sees it once, under one name or the other.
        self.with_ledger(|_| {
            // In this order: who looks finds one or the other.
            proofs::add(&claim.whole, claim.origin)?;
            fs::rename(&claim.part, &claim.whole)
        })?;
        claim.is_kept = true;
        Ok(())
    }

    /// Takes a blob away. Those who read it go on.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes away what dead workers have left, counts the rest, and makes it
    /// fit.
    pub(super) fn sweep(&self) -> io::Result<()> {
        self.with_ledger(|ledger| self.make_room_by_census(ledger, 0).map(|_| ()))
    }

    fn with_ledger<T>(&self, change: impl FnOnce(&mut Ledger) -> io::Result<T>) -> io::Result<T> {
        let mut swept = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        create_directory(&self.root)?;
        let mut ledger = Ledger::open(&self.root.join("ledger"))?;
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            self.make_room_by_census(&mut ledger, 0)?;
            *swept = Some(Instant::now());
        }
        change(&mut ledger)
    }

    /// Notes `need` bytes more in the ledger, if there is room or room can be
    /// made.
    fn make_room(&self, ledger: &mut Ledger, need: u64) -> io::Result<bool> {
        if need > self.capacity {
            return Ok(false);
        }
        if let Some(total) = ledger.total.filter(|total| total + need <= self.capacity) {
            ledger.set(total + need)?;
            self.note_size(total + need);
            return Ok(true);
        }
        self.make_room_by_census(ledger, need)
    }

    fn make_room_by_census(&self, ledger: &mut Ledger, need: u64) -> io::Result<bool> {
        let mut census = Census::take(&self.root)?;
        if census.total + need > self.capacity {
            // A little more, so that not every blob takes a census.
            let target = self.capacity - self.capacity / 16;
            let evicted = census.evict(target.saturating_sub(need))?;
            self.metrics.evictions.inc_by(evicted);
        }
        let fits = census.total + need <= self.capacity;
        let total = if fits {
            census.total + need
        } else {
            census.total
        };
        ledger.set(total)?;
        self.note_size(total);
        Ok(fits)
    }

    fn note_size(&self, total: u64) {
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        self.metrics.size_bytes.set(total);
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let (algorithm, hex) = digest
            .as_str()
            .split_once(':')
            .expect("the grammar of digests has a colon");
        self.root.join(algorithm).join(&hex[..2]).join(hex)
    }
}

impl Claim {
    /// Leaves nothing of the blob.
    pub(super) fn give_up(self) -> io::Result<()> {
        drop(self);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_kept {
            // Counted until the next census, which errs on the right side.
            let _ = fs::remove_file(&self.part);
            let _ = self.file.unlock();
        }
    }
}

/// Whether somebody holds the lock of a file that is being written.
pub(super) fn is_held(file: &File) -> bool {
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            false
        }
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => false,
    }
}

/// Removes what a dead worker has left at `part`. False: its writer lives.
pub(super) fn remove_dead(part: &Path) -> io::Result<bool> {
    let Some(file) = open(part)? else {
        return Ok(true);
    };
    match file.try_lock() {
        Ok(()) => fs::remove_file(part).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn part_of(whole: &Path, origin: Origin, length: u64) -> PathBuf {
    whole.with_extension(format!("{origin}.{length}.part"))
}

#[cfg(test)]
mod tests;
