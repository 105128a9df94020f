//! The files of an engine's configuration, and their output formats.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::target::Endpoint;
use crate::demo::digest::sha256;

/// The start of the first line of each generated file, in formats with
/// comments. The digest of all other lines follows.
const MARK: &str = "# Written by metahubctl client-config, ";
const HIDDEN: &str = "(left out: --show-secrets)";

/// The configuration of one engine.
#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) files: Vec<File>,
    /// Instructions for the time after the files are in place.
    pub(super) then: Vec<String>,
    /// The limits of the files, and warnings.
    pub(super) notes: Vec<String>,
}

/// One file, owned by root.
#[derive(Debug)]
pub(super) struct File {
    /// The file's absolute path on the host.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) content: Content,
}

/// The content of a file.
#[derive(Debug)]
pub(super) enum Content {
    /// Text with comments that begin with `#`, without the first line.
    Text(String),
    /// JSON, which has no comments.
    Json(Value),
    /// A symbolic link to this path.
    Link(PathBuf),
}

/// A file in the output for programs.
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

/// A setup in the output for programs.
#[derive(Serialize)]
pub(super) struct ShownSetup<'a> {
    files: Vec<Shown>,
    then: &'a [String],
    notes: &'a [String],
}

impl File {
    /// A file with read access for all users.
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

    /// The same file with access for its owner only, if `it_is` set.
    pub(super) fn private(mut self, it_is: bool) -> Self {
        if it_is {
            self.mode = 0o600;
        }
        self
    }

    /// All bytes of the file. `None`: the file is a link.
    pub(super) fn bytes(&self) -> Option<String> {
        match &self.content {
            Content::Text(text) => Some(format!("{MARK}{}\n{text}", sha256(text.as_bytes()))),
            Content::Json(value) => Some(format!("{value:#}\n")),
            Content::Link(_) => None,
        }
    }
}

/// Whether a file's text is unchanged since this command wrote it. `None`: the
/// text has no mark of this command.
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
    /// The output for people: each file below a line with its path, then the
    /// instructions.
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

    /// The instructions and the warnings.
    pub(super) fn remarks(&self) -> String {
        let mut text = String::new();
        for (head, lines) in [("Then:", &self.then), ("Note:", &self.notes)] {
            for line in lines {
                let _ = writeln!(text, "# {head} {}", line.replace('\n', "\n#   "));
            }
        }
        text
    }

    /// The output for programs. `hide` leaves the secrets out.
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
