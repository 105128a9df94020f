//! Grants: which repositories are open to whom.

use serde::{Deserialize, Serialize};

use crate::glob;

/// Longest pattern, in bytes.
const MAX_TEXT: usize = 512;

/// Opens repositories that are not open to everyone.
///
/// Whether a repository needs a grant is for its upstream to say; a grant for
/// one that needs none changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Whom it is for. `None`: every user.
    pub user: Option<String>,
    /// The repositories: an upstream's name, `/` and a repository, with `*` for
    /// any text within one path component and `**` for any text.
    pub repository: String,
}

/// A grant that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidGrant {
    /// What is wrong and what to write instead.
    pub reason: &'static str,
}

impl Grant {
    /// Checks the pattern.
    ///
    /// Unlike a rule's, it names the upstream: the same repository elsewhere
    /// may be somebody else's.
    pub fn check(&self) -> Result<(), InvalidGrant> {
        match mistake(&self.repository) {
            Some(reason) => Err(InvalidGrant { reason }),
            None => Ok(()),
        }
    }

    /// Whether `pattern` stands for every repository that it opens.
    pub fn is_within(&self, pattern: &str) -> bool {
        glob::covers(pattern, &self.repository)
    }

    /// Whether it opens `repository` at `upstream`.
    ///
    /// Docker Hub's `library/` may be left out, as on `docker pull`'s line.
    pub fn opens(&self, upstream: &str, repository: &str) -> bool {
        let about =
            |repository| glob::matches(&self.repository, &format!("{upstream}/{repository}"));
        let short = || {
            repository
                .strip_prefix("library/")
                .filter(|_| upstream == "docker.io")
        };
        about(repository) || short().is_some_and(about)
    }
}

fn mistake(pattern: &str) -> Option<&'static str> {
    if pattern.len() > MAX_TEXT || pattern.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Some("holds blanks or control characters or is longer than 512 bytes");
    }
    if pattern == "**" {
        return None;
    }
    match pattern.split_once('/') {
        Some((upstream, repository)) if is_host(upstream) && !repository.is_empty() => {
            if repository.contains([':', '@']) {
                return Some("holds a tag or digest; a grant is for a whole repository");
            }
            (!repository.chars().all(is_of_pattern)).then_some(
                "holds what is in no repository's name; only `*` and `**` stand for other text",
            )
        }
        _ => Some("names no upstream; write it in front, for example `ghcr.io/org/*`"),
    }
}

/// Whether it is in names of repositories, or stands for some of them.
fn is_of_pattern(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '*')
}

/// Whether it is an upstream's name, or a pattern that can be one.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(repository: &str) -> Grant {
        Grant {
            user: Some("qnib".into()),
            repository: repository.into(),
        }
    }

    #[test]
    fn a_grant_opens_what_it_names_and_nothing_else() {
        let acme = grant("ghcr.io/acme/*");

        assert!(acme.opens("ghcr.io", "acme/app"));
        assert!(!acme.opens("ghcr.io", "acme/team/app"));
        assert!(!acme.opens("ghcr.io", "acme"));
        assert!(!acme.opens("ghcr.io", "acmee/app"));
        assert!(!acme.opens("quay.io", "acme/app"));
        assert!(grant("ghcr.io/acme/**").opens("ghcr.io", "acme/team/app"));
        assert!(grant("**").opens("ghcr.io", "acme/team/app"));
    }

    #[test]
    fn a_repository_called_like_another_upstream_is_not_opened_by_a_grant_for_that() {
        let acme = grant("ghcr.io/acme/*");

        assert!(!acme.opens("mirror.example", "ghcr.io/acme/app"));
    }

    #[test]
    fn docker_hubs_library_may_be_left_out() {
        let nginx = grant("docker.io/nginx");

        assert!(nginx.opens("docker.io", "library/nginx"));
        assert!(!nginx.opens("quay.io", "library/nginx"));
    }

    #[test]
    fn a_pattern_without_an_upstream_is_refused() {
        for pattern in ["acme/*", "*", "ghcr.io", "ghcr.io/", "", "acme/b.c"] {
            assert!(grant(pattern).check().is_err(), "{pattern:?}");
        }
        for pattern in [
            "ghcr.io/acme/*",
            "registry:5000/a",
            "**",
            "*/a",
            "localhost/a",
        ] {
            assert!(grant(pattern).check().is_ok(), "{pattern:?}");
        }
    }

    #[test]
    fn what_no_repository_is_called_is_refused_in_a_pattern() {
        for pattern in [
            "ghcr.io/a:1",
            "ghcr.io/a@sha256:0",
            "ghcr.io/a b",
            "ghcr.io/a\n",
            "ghcr.io/[ab]",
            "ghcr.io/a?",
            "ghcr.io/ü",
        ] {
            assert!(grant(pattern).check().is_err(), "{pattern:?}");
        }
    }
}
