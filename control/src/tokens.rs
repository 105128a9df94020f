//! The tokens that admins and workers present.
//!
//! Made at the first start and kept in files that no one else can read, or
//! brought by the operator, for example as a compose secret.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use tracing::{info, warn};

use crate::{Secret, catalog::joins::PREFIX, secrets};

/// A shorter one could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// A token and the file that it is read from.
#[derive(Debug)]
pub(crate) struct TokenFile {
    pub(crate) path: PathBuf,
    pub(crate) token: Secret,
    /// Whether it was made just now.
    pub(crate) is_new: bool,
}

impl TokenFile {
    /// The token as the file holds it now: one that was replaced is taken up
    /// without a restart.
    pub(crate) fn renew(&mut self) {
        match Self::read(&self.path) {
            Ok(newest) if newest.token != self.token => {
                info!("took up a new token from {}", self.path.display());
                self.token = newest.token;
            }
            // What cannot be read, for now, leaves the former in force.
            Ok(_) | Err(_) => {}
        }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the token in {}", path.display()))?;
        let token = text.trim();
        ensure!(
            token.len() >= SHORTEST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic()),
            "{} must hold a token of at least {SHORTEST_TOKEN} printable ASCII characters",
            path.display()
        );
        Ok(Self {
            path: path.to_owned(),
            token: Secret::from(token.to_owned()),
            is_new: false,
        })
    }

    /// Reads the file, or makes it with a new token.
    pub(crate) fn read_or_create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            return Self::read(path);
        }
        let token = secrets::generate();
        write_private(path, token.expose())
            .with_context(|| format!("cannot write a token to {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            token,
            is_new: true,
        })
    }
}

/// The secret of the join token in a file, which is made if it is not there:
/// `mh_join_SECRET.FINGERPRINT`. One that an operator brings needs no
/// fingerprint.
pub(crate) fn join_secret(path: &Path, fingerprint: &str) -> anyhow::Result<Secret> {
    if !path.exists() {
        let secret = format!("{PREFIX}{}", secrets::generate().expose());
        let fingerprint = fingerprint.trim_start_matches("sha256:");
        write_private(path, &format!("{secret}.{fingerprint}"))
            .with_context(|| format!("cannot write a join token to {}", path.display()))?;
        return Ok(secret.into());
    }
    let file = TokenFile::read(path)?;
    let text = file.token.expose();
    let (secret, pinned) = text.split_once('.').unwrap_or((text, ""));
    ensure!(
        secret.starts_with(PREFIX),
        "{} must hold a join token: `{PREFIX}` and a secret",
        path.display()
    );
    if !pinned.is_empty() && !fingerprint.ends_with(pinned) {
        warn!(
            "the join token in {} is for another control plane: workers will not trust this one; \
             remove the file to have it made anew",
            path.display()
        );
    }
    Ok(secret.to_owned().into())
}

/// Has the join token in a file name `fingerprint`, if it names `former`.
pub(crate) fn repin_join_token(path: &Path, former: &str, fingerprint: &str) -> anyhow::Result<()> {
    let Ok(text) = fs::read_to_string(path) else {
        // It is made with the newest one.
        return Ok(());
    };
    match text.trim().split_once('.') {
        Some((secret, pinned)) if former.ends_with(pinned) => {
            let fingerprint = fingerprint.trim_start_matches("sha256:");
            write_private(path, &format!("{secret}.{fingerprint}"))
                .with_context(|| format!("cannot write the join token to {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file that is whole and private from the moment that it has its
/// name, also when the program is killed on the way.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        fs::remove_file(&unfinished)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_token_is_for_its_owner_only_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-token");

        let made = TokenFile::read_or_create(&path).unwrap();
        let read = TokenFile::read_or_create(&path).unwrap();

        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read.token, made.token);
        assert!(made.is_new && !read.is_new);
    }

    #[test]
    fn a_token_half_written_by_a_killed_program_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-token");
        fs::write(dir.path().join("admin-token.unfinished"), "half").unwrap();

        assert!(TokenFile::read_or_create(&path).is_ok());
    }

    #[test]
    fn a_token_that_is_replaced_on_disk_is_taken_up_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin-token");
        let mut file = TokenFile::read_or_create(&path).unwrap();

        fs::write(&path, "another-long-enough-token\n").unwrap();
        file.renew();
        fs::write(&path, "short\n").unwrap();
        file.renew();

        assert_eq!(file.token.expose(), "another-long-enough-token");
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own");
        fs::write(&path, "admin\n").unwrap();

        assert!(TokenFile::read(&path).is_err());
    }
}
