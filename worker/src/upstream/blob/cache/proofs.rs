//! Which repositories of which upstreams have sent a stored blob.
//!
//! Anyone can say to have a blob. A file is an answer only where its upstream
//! has sent, for this repository, every byte of it: else an upstream that knows
//! no more than a digest would be given what another one keeps private. The
//! list is beside the blob, so that it holds for all workers and after a
//! restart. Everything here blocks.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::files::{open, open_or_create};
use crate::upstream::Origin;

/// The longest list, in bytes: a block of the disk, or 256 repositories. The
/// oldest half makes room, and has to send the blob again.
pub(super) const MAX_LIST: usize = 4096;
/// The bytes of one origin.
const ENTRY: usize = size_of::<u128>();

/// Whether `origin` has sent the blob at `whole`.
pub(super) fn has(whole: &Path, origin: Origin) -> io::Result<bool> {
    let list = read(&list_of(whole))?;
    Ok(entries(&list).any(|entry| *entry == origin.to_bytes()))
}

/// Notes that `origin` has sent the blob at `whole`. For one writer at a time.
pub(super) fn add(whole: &Path, origin: Origin) -> io::Result<()> {
    let path = list_of(whole);
    let mut list = read(&path)?;
    if entries(&list).any(|entry| *entry == origin.to_bytes()) {
        return Ok(());
    }
    let file = open_or_create(&path)?;
    let end = list.len() / ENTRY * ENTRY;
    if end + ENTRY <= MAX_LIST {
        return file.write_all_at(&origin.to_bytes(), end as u64);
    }
    list.drain(..MAX_LIST / 2);
    list.extend_from_slice(&origin.to_bytes());
    file.write_all_at(&list, 0)?;
    file.set_len(list.len() as u64)
}

/// Removes the list of the blob at `whole`.
pub(super) fn remove(whole: &Path) -> io::Result<()> {
    match fs::remove_file(list_of(whole)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn list_of(whole: &Path) -> PathBuf {
    whole.with_extension("origins")
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut list = Vec::new();
    if let Some(file) = open(path)? {
        file.take(MAX_LIST as u64).read_to_end(&mut list)?;
    }
    Ok(list)
}

fn entries(list: &[u8]) -> impl Iterator<Item = &[u8; ENTRY]> {
    list.as_chunks().0.iter()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{reference::Repository, upstream::Upstream};

    fn origin(number: usize) -> Origin {
        let url = "https://registry.test".parse().unwrap();
        let repository = Repository::parse(&format!("app{number}")).unwrap();
        Upstream::new("hub", url, None, false).origin(&repository)
    }

    #[test]
    fn a_list_names_who_has_sent_the_blob_and_has_a_bound() {
        let root = TempDir::new().unwrap();
        let whole = root.path().join("0a");
        assert!(!has(&whole, origin(0)).unwrap());

        for number in 0..300 {
            add(&whole, origin(number)).unwrap();
            add(&whole, origin(number)).unwrap();

            assert!(has(&whole, origin(number)).unwrap());
        }

        assert!(!has(&whole, origin(300)).unwrap());
        assert!(has(&whole, origin(200)).unwrap() && !has(&whole, origin(0)).unwrap());
        assert!(fs::metadata(list_of(&whole)).unwrap().len() <= MAX_LIST as u64);
    }

    #[test]
    fn a_list_that_was_cut_off_names_nobody_by_chance() {
        let root = TempDir::new().unwrap();
        let whole = root.path().join("0a");
        add(&whole, origin(0)).unwrap();
        fs::write(list_of(&whole), &fs::read(list_of(&whole)).unwrap()[..9]).unwrap();

        add(&whole, origin(1)).unwrap();

        assert!(has(&whole, origin(1)).unwrap() && !has(&whole, origin(0)).unwrap());
    }
}
