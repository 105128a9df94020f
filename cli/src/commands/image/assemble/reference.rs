//! Names of images with the registry in front, as people write them.

use std::str::FromStr;

use anyhow::ensure;

/// The registry, the repository at it, and what is meant within.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) host: String,
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) digest: Option<String>,
}

impl Reference {
    /// The digest, or else the tag.
    pub(super) fn name(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.tag)
    }
}

impl FromStr for Reference {
    type Err = anyhow::Error;

    /// Without a registry it is Docker Hub's, without a tag `latest`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
            _ => ("docker.io", name),
        };
        let (repository, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
        let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        ensure!(
            !repository.is_empty() && !tag.is_empty() && repository.chars().all(good),
            "`{text}` is not the name of an image"
        );
        let repository = match (host, repository.contains('/')) {
            ("docker.io", false) => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        Ok(Self {
            host: host.into(),
            repository,
            tag: tag.into(),
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, String) {
        let it: Reference = text.parse().unwrap();
        (it.host.clone(), it.repository.clone(), it.name().into())
    }

    fn expected(host: &str, repository: &str, name: &str) -> (String, String, String) {
        (host.into(), repository.into(), name.into())
    }

    #[test]
    fn a_name_without_a_registry_is_docker_hubs() {
        assert_eq!(
            parsed("alpine"),
            expected("docker.io", "library/alpine", "latest")
        );
        assert_eq!(
            parsed("qnib/bench:1"),
            expected("docker.io", "qnib/bench", "1")
        );
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(
            parsed("localhost:5000/a"),
            expected("localhost:5000", "a", "latest")
        );
        assert_eq!(
            parsed("10.0.0.1:5000/a/b:c@sha256:d"),
            expected("10.0.0.1:5000", "a/b", "sha256:d")
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!("a b".parse::<Reference>().is_err());
        assert!("ghcr.io/".parse::<Reference>().is_err());
    }
}
