//! Reads engines' configuration files below the host's root directory. Prints
//! no part of a file that may be a secret.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::finding::Finding;
use crate::commands::client_config::file::is_as_written;

/// The size limit of a configuration file.
const MAX_BYTES: u64 = 4 << 20;

/// The root directory of the host.
pub(super) struct Root(PathBuf);

/// Reasons for a failed read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The file does not exist.
    #[error("there is none")]
    Missing,
    /// The file cannot be read.
    #[error("{0}")]
    Io(io::Error),
}

impl Root {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// This program's path for an absolute path of the host.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub(super) fn read(&self, path: &str) -> Result<String, Unreadable> {
        let read = || {
            let file = fs::File::open(self.path(path))?;
            let mut text = String::new();
            file.take(MAX_BYTES).read_to_string(&mut text)?;
            Ok(text)
        };
        read().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unreadable::Missing,
            _ => Unreadable::Io(error),
        })
    }

    /// The text of an optional file. Adds a finding for an unreadable file, and
    /// for a file of `client-config` that was changed by hand.
    pub(super) fn optional(
        &self,
        check: &'static str,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<String> {
        match self.read(path) {
            Ok(text) => {
                findings.extend(changed(check, path, &text));
                Some(text)
            }
            Err(Unreadable::Missing) => None,
            Err(Unreadable::Io(error)) => {
                findings.push(unreadable(check, path, &error));
                None
            }
        }
    }

    /// The names in a directory, sorted. `None`: it does not exist.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        let entries = fs::read_dir(self.path(path)).ok()?;
        let entries = entries.flatten();
        let names = entries.map(|it| it.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Some(names)
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

fn changed(check: &'static str, path: &str, text: &str) -> Option<Finding> {
    if is_as_written(text) != Some(false) {
        return None;
    }
    let what = format!("{path} was written by metahubctl client-config, and changed by hand since");
    let next = "metahubctl client-config … --out / --force writes it anew; without its first line it is yours";
    Some(Finding::warn(check, what, next))
}

fn unreadable(check: &'static str, path: &str, error: &io::Error) -> Finding {
    let next = match error.kind() {
        io::ErrorKind::PermissionDenied => "run metahubctl doctor as root".to_owned(),
        _ => format!("see what {path} is"),
    };
    Finding::warn(check, format!("{path} cannot be read: {error}"), next)
}
