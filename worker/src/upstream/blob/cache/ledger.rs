//! How full the directory is, as all workers that share it count.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::files::open_or_create;

/// How long to wait for another worker. One that has been stopped with the
/// ledger in its hand must not stop this one.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// As many digits as the largest number has: each write replaces all.
const DIGITS: usize = 20;

/// The ledger, in the hand of one thread of one worker until it is dropped.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    /// What the directory holds at most, in bytes. None: nobody has counted
    /// yet.
    pub(super) total: Option<u64>,
}

impl Ledger {
    /// Waits for the ledger at `path`, and makes one if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = open_or_create(path)?;
        lock(&file)?;
        let mut text = String::new();
        // What cannot be read is counted anew.
        let total = match file.read_to_string(&mut text) {
            Ok(DIGITS) => text.parse().ok(),
            _ => None,
        };
        Ok(Self { file, total })
    }

    /// Notes what the directory holds.
    pub(super) fn set(&mut self, total: u64) -> io::Result<()> {
        self.total = Some(total);
        self.file
            .write_all_at(format!("{total:0DIGITS$}").as_bytes(), 0)
    }
}

/// Locks `file`, which no worker that runs keeps locked for long.
pub(super) fn lock(file: &File) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
}
