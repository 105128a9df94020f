//! Whom to take for the control plane: what is given, what was remembered or,
//! at the first time, what a person confirms.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use metahub_worker::trust::{Fingerprint, Trust, look};
use url::Url;

use crate::failure::Failure;

/// What the settings say about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustSettings {
    /// The authority's fingerprint.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The authorities' certificates.
    pub(crate) ca_file: Option<PathBuf>,
    /// The file of those that were confirmed.
    pub(crate) known_controls: Option<PathBuf>,
}

impl TrustSettings {
    /// Whom to trust for the control plane at `url`. Asks, if nothing is known
    /// and there is someone to ask.
    pub(super) async fn of(&self, url: &Url) -> anyhow::Result<Trust> {
        if let Some(fingerprint) = self.fingerprint {
            return Ok(Trust::Fingerprint(fingerprint));
        }
        if let Some(path) = &self.ca_file {
            return Ok(Trust::read(path)?);
        }
        if let Some(known) = self.known(url)? {
            return Ok(Trust::Fingerprint(known));
        }
        let seen = look(super::endpoint(url)?).await;
        let seen = seen.map_err(|error| Failure::Unreachable {
            url: url.clone(),
            source: error.into(),
        })?;
        let is_attended = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !is_attended || !confirm(url, seen, &mut io::stdin().lock(), &mut io::stderr())? {
            return Err(Failure::UnknownControl {
                url: url.clone(),
                fingerprint: seen,
            }
            .into());
        }
        if let Some(path) = &self.known_controls {
            remember(path, url, seen)
                .with_context(|| format!("cannot remember it in {}", path.display()))?;
        }
        Ok(Trust::Fingerprint(seen))
    }

    /// Remembers whom the control plane at `url` has proved to be, or who takes
    /// the place of that: what was given once need not be given again. What
    /// cannot be kept is no failure.
    pub(super) fn keep(&self, url: &Url, proved: &Trust, successor: Option<Fingerprint>) {
        let (Some(path), Trust::Fingerprint(proved)) = (&self.known_controls, proved) else {
            return;
        };
        let newest = successor.unwrap_or(*proved);
        if !matches!(self.known(url), Ok(Some(known)) if known == newest) {
            let _ = remember(path, url, newest);
        }
    }

    /// Why a connection to `url` has failed: `error`, or something worse.
    pub(super) async fn explain(&self, url: &Url, error: anyhow::Error) -> anyhow::Error {
        let wanted = match (self.fingerprint, &self.ca_file) {
            (Some(given), _) => Some(given),
            (None, Some(_)) => None,
            (None, None) => self.known(url).ok().flatten(),
        };
        let (Some(wanted), Ok(endpoint)) = (wanted, super::endpoint(url)) else {
            return error;
        };
        let seen = match look(endpoint).await {
            Ok(seen) if seen != wanted => seen,
            _ => return error,
        };
        let url = url.clone();
        match &self.known_controls {
            Some(file) if self.fingerprint.is_none() => Failure::StrangeControl {
                url,
                roots: format!("{seen}, and {wanted} is remembered in {}", file.display()),
            },
            _ => Failure::OtherControl {
                url,
                roots: format!("{seen}, and {wanted} was given"),
            },
        }
        .into()
    }

    fn known(&self, url: &Url) -> anyhow::Result<Option<Fingerprint>> {
        let Some(path) = &self.known_controls else {
            return Ok(None);
        };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let origin = origin(url);
        // What was learned later counts.
        let mut lines = text.lines().rev().filter_map(|line| line.split_once(' '));
        let known = lines.find(|(of, _)| *of == origin);
        let known = known.map(|(_, fingerprint)| fingerprint.trim().parse());
        known
            .transpose()
            .with_context(|| format!("{} has a broken line for {origin}", path.display()))
    }
}

/// Shows a person what was seen, and asks whether it is right.
fn confirm(
    url: &Url,
    seen: Fingerprint,
    answers: &mut dyn BufRead,
    questions: &mut dyn Write,
) -> io::Result<bool> {
    write!(
        questions,
        "The control plane at {url} is not known yet. Its certificate is rooted in\n\n  {seen}\n\n\
         The control plane's log shows the same line if no one is in between.\n\
         Trust it from now on? [yes/no] "
    )?;
    questions.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "yes" | "y"))
}

/// Adds a line, in a file for the owner only.
fn remember(path: &Path, url: &Url, seen: Fingerprint) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).mode(0o600).open(path)?;
    // One write, so that two at a time do not mix.
    file.write_all(format!("{} {seen}\n", origin(url)).as_bytes())
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn url() -> Url {
        "https://control.example:7400".parse().unwrap()
    }

    fn fingerprint(digits: &str) -> Fingerprint {
        digits.repeat(32).parse().unwrap()
    }

    #[test]
    fn what_is_remembered_is_for_one_control_plane_and_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metahub/known-controls");
        let settings = TrustSettings {
            known_controls: Some(path.clone()),
            ..TrustSettings::default()
        };

        remember(&path, &url(), fingerprint("0a")).unwrap();

        let other = "https://control.example:7401".parse().unwrap();
        assert_eq!(settings.known(&url()).unwrap(), Some(fingerprint("0a")));
        assert_eq!(settings.known(&other).unwrap(), None);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_was_learned_last_counts() {
        let dir = tempfile::tempdir().unwrap();
        let settings = TrustSettings {
            known_controls: Some(dir.path().join("known-controls")),
            ..TrustSettings::default()
        };

        for digits in ["0a", "0a", "0b"] {
            settings.keep(&url(), &Trust::Fingerprint(fingerprint(digits)), None);
        }

        assert_eq!(settings.known(&url()).unwrap(), Some(fingerprint("0b")));
        let kept = fs::read_to_string(dir.path().join("known-controls")).unwrap();
        assert_eq!(kept.lines().count(), 2, "{kept}");
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        let asked = |answer: &str| {
            let mut shown = Vec::new();
            let yes = confirm(
                &url(),
                fingerprint("0a"),
                &mut answer.as_bytes(),
                &mut shown,
            );
            assert!(String::from_utf8(shown).unwrap().contains("sha256:0a0a"));
            yes.unwrap()
        };

        assert!(asked("yes\n"));
        assert!(!asked("no\n") && !asked("\n") && !asked(""));
    }
}
