//! The last good policy in a file, sealed: it holds the accounts of upstreams.
//!
//! AES-256-GCM with a random nonce (NIST SP 800-38D) over the revision, when
//! the control plane was last heard, and the encoded `State`. A file that was
//! cut, changed or sealed with another key does not open.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::snapshot::Revision;

/// What the file starts with.
const MAGIC: &[u8] = b"metahub snapshot 1\n";
const KEY_LEN: usize = 32;
/// The revision's two halves, and the time.
const HEAD: usize = 3 * size_of::<u64>();
/// As large as a snapshot may be, and a little.
const LARGEST: u64 = (1 << 30) + (1 << 10);

/// Where the policy is kept, and the key that seals it.
#[derive(Debug)]
pub(crate) struct SealedFile {
    path: PathBuf,
    key: RandomizedNonceKey,
}

/// A policy as the control plane has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its place in the history.
    pub(crate) revision: Revision,
    /// When the control plane was last heard.
    pub(crate) heard: SystemTime,
    /// The encoded `State`.
    pub(crate) state: Vec<u8>,
}

/// Why there is no policy in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Unusable {
    /// The file or the key cannot be read or written.
    #[error("cannot use {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// The key is none.
    #[error("{} must hold 32 random bytes as base64: delete it, and one is made", .0.display())]
    Key(PathBuf),
    /// It was not sealed with this key, or was changed since.
    #[error("{} does not open: it was sealed with another key, or is damaged", .0.display())]
    Sealed(PathBuf),
}

impl SealedFile {
    /// The file at `path`, sealed with the key in `key_file`, which is made
    /// unless it is there.
    pub(crate) fn open(path: &Path, key_file: &Path) -> Result<Self, Unusable> {
        let key = read_or_make_key(key_file)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key);
        Ok(Self {
            path: path.to_owned(),
            key: key.map_err(|_| Unusable::Key(key_file.to_owned()))?,
        })
    }

    /// What the file holds. `None`: there is no file yet.
    pub(crate) fn read(&self) -> Result<Option<Kept>, Unusable> {
        let size = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            size => size.map_err(|error| self.io(error))?.len(),
        };
        if size > LARGEST {
            return Err(self.damaged());
        }
        let mut bytes = fs::read(&self.path).map_err(|error| self.io(error))?;
        self.unseal(&mut bytes)
            .map(Some)
            .ok_or_else(|| self.damaged())
    }

    /// Puts `kept` into the file, whole or not at all.
    pub(crate) fn write(&self, kept: &Kept) -> Result<(), Unusable> {
        let sealed = self.seal(kept).ok_or_else(|| self.damaged())?;
        replace_file(&self.path, &sealed).map_err(|error| self.io(error))
    }

    fn seal(&self, kept: &Kept) -> Option<Vec<u8>> {
        let Revision { epoch, number } = kept.revision;
        let heard = kept.heard.duration_since(UNIX_EPOCH).unwrap_or_default();
        let heard = u64::try_from(heard.as_millis()).unwrap_or(u64::MAX);
        let mut plain = Vec::with_capacity(HEAD + kept.state.len() + AES_256_GCM.tag_len());
        for word in [epoch, number, heard] {
            plain.extend_from_slice(&word.to_be_bytes());
        }
        plain.extend_from_slice(&kept.state);
        let sealed = self
            .key
            .seal_in_place_append_tag(Aad::from(MAGIC), &mut plain);
        let nonce = sealed.ok()?;
        Some([MAGIC, nonce.as_ref(), &plain].concat())
    }

    fn unseal(&self, bytes: &mut [u8]) -> Option<Kept> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let rest = bytes.get_mut(MAGIC.len()..)?;
        let (nonce, sealed) = rest.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(MAGIC), sealed);
        let (head, state) = plain.ok()?.split_at_checked(HEAD)?;
        let mut words = head.chunks_exact(size_of::<u64>()).map(word);
        let mut next = || words.next().unwrap_or_default();
        let (epoch, number, heard) = (next(), next(), next());
        Some(Kept {
            revision: Revision { epoch, number },
            heard: UNIX_EPOCH.checked_add(Duration::from_millis(heard))?,
            state: state.to_vec(),
        })
    }

    fn io(&self, error: io::Error) -> Unusable {
        Unusable::Io(self.path.clone(), error)
    }

    fn damaged(&self) -> Unusable {
        Unusable::Sealed(self.path.clone())
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

fn read_or_make_key(path: &Path) -> Result<[u8; KEY_LEN], Unusable> {
    let failed = |error| Unusable::Io(path.to_owned(), error);
    match fs::read_to_string(path) {
        Ok(text) => {
            let key = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
            key.try_into().map_err(|_| Unusable::Key(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; KEY_LEN];
            rand::fill(&mut key).map_err(|_| failed(io::ErrorKind::Other.into()))?;
            let text = BASE64_STANDARD.encode(key) + "\n";
            replace_file(path, text.as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes a file that is whole and private from the moment that it has its
/// name, also when the program is killed on the way.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        fs::remove_file(&unfinished)?;
    }
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn kept() -> Kept {
        Kept {
            revision: Revision {
                epoch: u64::MAX,
                number: 7,
            },
            heard: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            state: b"hunter2".to_vec(),
        }
    }

    fn open(dir: &TempDir) -> SealedFile {
        SealedFile::open(&dir.path().join("snapshot"), &dir.path().join("key")).unwrap()
    }

    #[test]
    fn what_is_kept_comes_back_to_who_has_the_key() {
        let dir = TempDir::new().unwrap();
        open(&dir).write(&kept()).unwrap();

        assert_eq!(open(&dir).read().unwrap(), Some(kept()));
    }

    #[test]
    fn the_file_shows_nothing_and_is_for_its_owner_alone() {
        let dir = TempDir::new().unwrap();
        open(&dir).write(&kept()).unwrap();

        let path = dir.path().join("snapshot");
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|it| it == b"hunter2"));
        for name in ["snapshot", "key"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_changed_or_cut_file_does_not_open() {
        let dir = TempDir::new().unwrap();
        open(&dir).write(&kept()).unwrap();
        let path = dir.path().join("snapshot");
        let whole = fs::read(&path).unwrap();

        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(open(&dir).read().is_err(), "byte {at} was changed");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(open(&dir).read().is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_that_was_sealed_with_another_key_does_not_open() {
        let dir = TempDir::new().unwrap();
        open(&dir).write(&kept()).unwrap();
        fs::remove_file(dir.path().join("key")).unwrap();

        assert!(matches!(open(&dir).read(), Err(Unusable::Sealed(_))));
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let dir = TempDir::new().unwrap();
        let key = dir.path().join("key");
        for text in ["", "hunter2", "AAAA"] {
            fs::write(&key, text).unwrap();
            let opened = SealedFile::open(&dir.path().join("snapshot"), &key);
            assert!(matches!(opened, Err(Unusable::Key(_))), "{text}");
        }
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        let dir = TempDir::new().unwrap();

        assert_eq!(open(&dir).read().unwrap(), None);
    }
}
