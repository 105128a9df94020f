//! Counting what the directory holds, and choosing what goes.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{directory::remove_dead, files::check_directory, proofs};

/// The algorithms whose blobs there can be.
const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];
/// What disks hand out, in bytes.
const BLOCK: u64 = 4096;

/// What the directory holds.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// All of it, in bytes, with what is still to come of files that grow.
    pub(super) total: u64,
    stored: Vec<Stored>,
}

#[derive(Debug)]
struct Stored {
    used: SystemTime,
    path: PathBuf,
    room: u64,
}

/// What the name of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// A blob.
    Whole,
    /// The list of repositories that have sent a blob. Counted with the blob.
    Origins,
    /// A blob on its way.
    Part {
        /// Its digest, without the algorithm.
        hex: &'a str,
        /// Where it comes from.
        origin: &'a str,
        /// How long it will be.
        length: u64,
    },
}

/// The bytes of disk that a blob of `length` bytes takes, with the list beside
/// it.
pub(super) fn room_for(length: u64) -> u64 {
    let blob = length.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
    blob.max(BLOCK).saturating_add(BLOCK)
}

impl<'a> Name<'a> {
    /// None: it is not a file of the cache.
    pub(super) fn parse(name: &'a OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let is_hex = |hex: &str| hex.len() >= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        match name.split_once('.') {
            None => is_hex(name).then_some(Self::Whole),
            Some((hex, "origins")) => is_hex(hex).then_some(Self::Origins),
            Some((hex, rest)) => {
                let (origin, length) = rest.strip_suffix(".part")?.split_once('.')?;
                let length = length.parse().ok()?;
                let part = Self::Part {
                    hex,
                    origin,
                    length,
                };
                is_hex(hex).then_some(part)
            }
        }
    }
}

impl Census {
    /// Counts everything below `root`, and removes what dead workers have
    /// left.
    pub(super) fn take(root: &Path) -> io::Result<Self> {
        let mut census = Self::default();
        for algorithm in ALGORITHMS {
            for shelf in entries(&root.join(algorithm))? {
                for file in entries(&shelf)? {
                    census.count(file)?;
                }
            }
        }
        Ok(census)
    }

    /// Removes what has not been used for longest, until no more than `target`
    /// bytes are left or nothing more can go. Returns how many blobs went.
    pub(super) fn evict(&mut self, target: u64) -> io::Result<u64> {
        self.stored
            .sort_unstable_by(|a, b| (b.used, &b.path).cmp(&(a.used, &a.path)));
        let mut evicted = 0;
        while self.total > target
            && let Some(oldest) = self.stored.pop()
        {
            ignore_missing(fs::remove_file(&oldest.path))?;
            proofs::remove(&oldest.path)?;
            self.total = self.total.saturating_sub(oldest.room);
            evicted += 1;
        }
        Ok(evicted)
    }

    fn count(&mut self, path: PathBuf) -> io::Result<()> {
        match path.file_name().and_then(Name::parse) {
            Some(Name::Whole) => {
                let Some(metadata) = ignore_missing(fs::symlink_metadata(&path))? else {
                    return Ok(());
                };
                let room = room_for(metadata.len());
                self.total = self.total.saturating_add(room);
                self.stored.push(Stored {
                    used: metadata.modified()?,
                    path,
                    room,
                });
            }
            Some(Name::Part { length, .. }) if !remove_dead(&path)? => {
                self.total = self.total.saturating_add(room_for(length));
            }
            Some(Name::Origins) if !path.with_extension("").exists() => {
                proofs::remove(&path)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    check_directory(directory)?;
    let Some(entries) = ignore_missing(fs::read_dir(directory))? else {
        return Ok(Vec::new());
    };
    entries.map(|entry| entry.map(|it| it.path())).collect()
}

fn ignore_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_cache_are_counted() {
        let hex = "0a".repeat(32);
        let part = format!("{hex}.beef.17.part");
        let (origin, length) = ("beef", 17);

        assert_eq!(Name::parse(OsStr::new(&hex)), Some(Name::Whole));
        assert_eq!(
            Name::parse(OsStr::new(&part)),
            Some(Name::Part {
                hex: &hex,
                origin,
                length
            })
        );
        for name in [
            "ledger",
            "0a",
            &format!("{hex}.part"),
            &format!("{hex}.17.part"),
            &format!("{hex}.beef.x.part"),
        ] {
            assert_eq!(Name::parse(OsStr::new(name)), None, "{name}");
        }
    }
}
