//! The files of an engine's configuration, and how they are shown.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::target::Endpoint;
use crate::demo::digest::sha256;

/// How the first line of each file of ours begins that may have comments. The
/// digest of all other lines follows.
const MARK: &str = "# Written by metahubctl client-config, ";
const HIDDEN: &str = "(left out: --show-secrets)";

/// The configuration of one engine.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) files: Vec<File>,
    /// What to do once the files are there.
    pub(super) then: Vec<String>,
    /// What the files cannot do, and what to watch.
    pub(super) notes: Vec<String>,
}

/// One file. Its owner is root.
#[derive(Debug)]
pub(super) struct File {
    /// Its absolute path on the host.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) content: Content,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Text with comments that begin with `#`. The first line is not in it.
    Text(String),
    /// JSON, which has no comments.
    Json(Value),
    /// A symbolic link to this path.
    Link(PathBuf),
}

/// A file as programs read it.
#[derive(Serialize)]
struct Shown {
    path: String,
    mode: String,
    owner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<PathBuf>,
}

/// A setup as programs read it.
#[derive(Serialize)]
pub(super) struct ShownSetup<'a> {
    files: Vec<Shown>,
    then: &'a [String],
    notes: &'a [String],
}

impl File {
    /// A file that everyone may read.
    pub(super) fn text(path: impl Into<String>, text: String) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            content: Content::Text(text),
        }
    }

    pub(super) fn json(path: impl Into<String>, value: Value) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            content: Content::Json(value),
        }
    }

    pub(super) fn link(path: String, to: PathBuf) -> Self {
        Self {
            path,
            mode: 0o777,
            content: Content::Link(to),
        }
    }

    /// The same for its owner alone, where `it_is` so.
    pub(super) fn private(mut self, it_is: bool) -> Self {
        if it_is {
            self.mode = 0o600;
        }
        self
    }

    /// All bytes of the file. `None`: it is a link.
    pub(super) fn bytes(&self) -> Option<String> {
        match &self.content {
            Content::Text(text) => Some(format!("{MARK}{}\n{text}", sha256(text.as_bytes()))),
            Content::Json(value) => Some(format!("{value:#}\n")),
            Content::Link(_) => None,
        }
    }
}

/// Whether a file's text was written by this command. `Some(false)`: it was,
/// and somebody has changed it.
pub(crate) fn is_as_written(text: &str) -> Option<bool> {
    let (digest, rest) = text.strip_prefix(MARK)?.split_once('\n')?;
    Some(sha256(rest.as_bytes()) == digest)
}

/// The authorities of the endpoint as a file at `path`.
pub(super) fn authorities(endpoint: &Endpoint, path: impl Into<String>) -> Option<File> {
    let pem = endpoint.ca_pem.as_ref()?;
    Some(File::text(path, format!("{}\n", pem.trim_end())))
}

/// `text` without the endpoint's secrets.
pub(super) fn without_secrets(text: &str, endpoint: &Endpoint) -> String {
    let secrets = endpoint.secrets();
    let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
    secrets.iter().fold(text.to_owned(), hide)
}

impl Setup {
    /// For people: each file below a line with its path, and what to do then.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let _ = match &file.content {
                Content::Link(to) => writeln!(text, "### ln -s {} {}\n", to.display(), file.path),
                Content::Text(_) | Content::Json(_) => writeln!(
                    text,
                    "### {}  mode {:04o}, owner root:root\n{}",
                    file.path,
                    file.mode,
                    file.bytes().unwrap_or_default()
                ),
            };
        }
        text + &self.remarks()
    }

    /// What to do once the files are there, and what to watch.
    pub(super) fn remarks(&self) -> String {
        let mut text = String::new();
        for (head, lines) in [("Then:", &self.then), ("Note:", &self.notes)] {
            for line in lines {
                let _ = writeln!(text, "# {head} {}", line.replace('\n', "\n#   "));
            }
        }
        text
    }

    /// For programs. `hide` leaves the secrets out.
    pub(super) fn shown(&self, hide: impl Fn(&str) -> String) -> ShownSetup<'_> {
        let file = |file: &File| Shown {
            path: file.path.clone(),
            mode: format!("{:04o}", file.mode),
            owner: "root:root",
            content: file.bytes().map(|it| hide(&it)),
            link: match &file.content {
                Content::Link(to) => Some(to.clone()),
                Content::Text(_) | Content::Json(_) => None,
            },
        };
        ShownSetup {
            files: self.files.iter().map(file).collect(),
            then: &self.then,
            notes: &self.notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_as_written_until_one_byte_of_it_changes() {
        let file = File::text("/etc/x", "a = 1\n".into());
        let bytes = file.bytes().unwrap();

        assert_eq!(is_as_written(&bytes), Some(true));
        assert_eq!(is_as_written(&bytes.replace('1', "2")), Some(false));
        assert_eq!(is_as_written("a = 1\n"), None);
    }
}
