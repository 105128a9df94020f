//! Bounded reads of files below a root directory. Their content is untrusted
//! input.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The default size limit of a file.
const MAX_FILE: u64 = 64 << 10;
/// The limit of entries read from a directory.
const MAX_ENTRIES: usize = 4096;

/// The directory used as `/`.
#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether this is the root of this process.
    pub(super) fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// The trimmed text of the file `path`. `None`: it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = self.read(path, MAX_FILE).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// The bytes of the file `path`, at most `limit`.
    pub(super) fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = File::open(self.path(path))?;
        // A read of a device or a pipe could block or never end.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        file.take(limit + 1).read_to_end(&mut content)?;
        match content.len() as u64 > limit {
            true => Err(io::Error::other(format!("it is longer than {limit} bytes"))),
            false => Ok(content),
        }
    }

    /// The names in the directory `path`, sorted. Empty if it is missing.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.take(MAX_ENTRIES).collect();
        names.sort_unstable();
        names
    }

    /// Whether `path` exists and no link leads out of the root.
    pub(super) fn contains(&self, path: &str) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        let (root, path) = (real(&self.0), real(&self.path(path)));
        root.is_some_and(|root| path.is_some_and(|path| path.starts_with(root)))
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The last component of the target of the link `path`.
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }
}
