//! Names of images as the hosts of a MetaHub write them, and what they mean.

use std::{fmt, str::FromStr};

use anyhow::{Context, ensure};

use crate::record::Upstream;

const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
const HUB_API: &str = "https://registry-1.docker.io";

/// An image's name: with or without an upstream's name in front, never with
/// that of MetaHub itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// The repository, for example `qnib/bench` or `ghcr.io/org/app`.
    pub(crate) name: String,
    /// `None` where the digest alone says what is meant.
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The upstream's name.
    pub(crate) upstream: String,
    /// The repository there.
    pub(crate) repository: String,
    /// Whether it is open only to users with a grant.
    pub(crate) needs_grant: bool,
}

impl ImageName {
    /// The digest, or else the tag.
    pub(crate) fn reference(&self) -> &str {
        let tag = || self.tag.as_deref().unwrap_or("latest");
        self.digest.as_deref().unwrap_or_else(tag)
    }

    /// The same image without `registry` in front, as docker writes it there.
    pub(crate) fn at(mut self, registry: &str) -> Self {
        let rest = self.name.strip_prefix(registry);
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix('/')) {
            self.name = rest.to_owned();
        }
        self
    }

    /// Which repository of which upstream it is, as workers find it.
    pub(crate) fn place(&self, upstreams: &[Upstream]) -> anyhow::Result<Place> {
        if let Some((host, rest)) = self.name.split_once('/') {
            if let Some(upstream) = called(upstreams, host) {
                return Ok(Place::new(upstream, rest));
            }
            ensure!(
                host != "localhost" && !host.contains(['.', ':']),
                "no upstream `{host}` is configured: see `metahubctl upstream list`"
            );
        }
        let default = upstreams.iter().find(|upstream| upstream.default);
        let default = default.context(
            "no default upstream is configured: put the upstream's name in front of the image's",
        )?;
        Ok(Place::new(default, &self.name))
    }
}

impl Place {
    fn new(upstream: &Upstream, repository: &str) -> Self {
        let is_hub = upstream.name == HUB || upstream.url.starts_with(HUB_API);
        let needs_grant = upstream.needs_grant();
        let repository = match is_hub && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository.to_owned(),
        };
        Self {
            upstream: upstream.name.clone(),
            repository,
            needs_grant,
        }
    }
}

fn called<'a>(upstreams: &'a [Upstream], host: &str) -> Option<&'a Upstream> {
    let named = |name: &str| upstreams.iter().find(|upstream| upstream.name == name);
    let hub = || {
        let alias = HUB_ALIASES.contains(&host);
        alias.then(|| named(HUB)).flatten()
    };
    let is_reached = |upstream: &&Upstream| upstream.hosts.iter().any(|it| it == host);
    let reached = || upstreams.iter().find(is_reached);
    named(host).or_else(hub).or_else(reached)
}

impl FromStr for ImageName {
    type Err = anyhow::Error;

    /// Without a tag and a digest it is `latest`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let good = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
        let word = |text: &String| !text.is_empty() && text.chars().all(good);
        ensure!(
            !name.split('/').any(str::is_empty)
                && name.chars().all(good)
                && tag.iter().chain(&digest).all(word),
            "`{text}` is not the name of an image"
        );
        let latest = || digest.is_none().then(|| "latest".to_owned());
        Ok(Self {
            name: name.to_owned(),
            tag: tag.or_else(latest),
            digest,
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str, url: &str, default: bool) -> Upstream {
        Upstream {
            name: name.into(),
            url: url.into(),
            default,
            ..Upstream::default()
        }
    }

    fn place(text: &str) -> anyhow::Result<String> {
        let upstreams = [
            upstream("docker.io", HUB_API, true),
            Upstream {
                hosts: vec!["ghcr.mirror.example".into()],
                ..upstream("ghcr.io", "https://ghcr.io", false)
            },
        ];
        let place = text.parse::<ImageName>()?.place(&upstreams)?;
        Ok(format!("{} {}", place.upstream, place.repository))
    }

    #[test]
    fn a_name_means_what_it_means_to_workers() {
        assert_eq!(place("qnib/bench").unwrap(), "docker.io qnib/bench");
        assert_eq!(place("alpine:3").unwrap(), "docker.io library/alpine");
        assert_eq!(
            place("index.docker.io/alpine").unwrap(),
            "docker.io library/alpine"
        );
        assert_eq!(place("ghcr.io/app").unwrap(), "ghcr.io app");
        assert_eq!(place("ghcr.mirror.example/app").unwrap(), "ghcr.io app");
        assert!(place("quay.io/app").is_err());
    }

    #[test]
    fn a_port_is_not_a_tag_and_a_digest_needs_none() {
        let name: ImageName = "localhost:7480/a/b".parse().unwrap();
        assert_eq!(name.to_string(), "localhost:7480/a/b:latest");
        assert_eq!(name.at("localhost:7480").name, "a/b");

        let name: ImageName = "a/b@sha256:12".parse().unwrap();
        assert_eq!((name.tag.as_deref(), name.reference()), (None, "sha256:12"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "a b", "/a", "a//b", "a:", "a@", "a/b:c d"] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }
}
