//! Which upstream and which repository a name means.
//!
//! `ghcr.io/org/app` means `org/app` at the upstream that is called `ghcr.io`;
//! a name without an upstream's goes to the one that the worker is reached as,
//! or else to the default one. Only configured upstreams are ever dialled.

use std::{borrow::Cow, fmt, net::Ipv6Addr, sync::Arc};

use crate::{reference::Repository, snapshot::Snapshot, upstream::Upstream};

/// Docker Hub's name, and its other ones.
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// Where Docker Hub serves the registry API.
const HUB_API: &str = "registry-1.docker.io";

/// A repository's name as a client writes it: with or without a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(Box<str>);

/// What a name means.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    /// The name, as the client writes it.
    pub(crate) name: &'a Name,
    /// Where to pull from.
    pub(crate) upstream: &'a Arc<Upstream>,
    /// The repository there.
    pub(crate) repository: Repository,
}

/// A name that means nothing here, and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnknownName {
    /// No upstream is called that.
    #[error("no upstream `{0}` is configured")]
    NotConfigured(String),
    /// The name has no host, and no upstream is the default one.
    #[error("no default upstream is configured: put the upstream's name in front")]
    NoDefault,
    /// What is left without the host is no repository.
    #[error("there is no repository in the name")]
    Empty,
}

impl Name {
    /// Takes a repository's name, optionally after a host and a slash.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let good = Repository::parse(name).is_some()
            || name
                .split_once('/')
                .is_some_and(|(host, rest)| is_host(host) && Repository::parse(rest).is_some());
        good.then(|| Self(name.into()))
    }

    /// As the client writes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> Target<'a> {
    /// What `name` means. `namespace` is what a containerd mirror puts into
    /// `?ns=`: the host that the client believes to speak to. `host` is the
    /// worker as the client knows it.
    pub(crate) fn find(
        snapshot: &'a Snapshot,
        name: &'a Name,
        namespace: Option<&str>,
        host: Option<&str>,
    ) -> Result<Self, UnknownName> {
        if let Some(namespace) = namespace {
            let unknown = || UnknownName::NotConfigured(namespace.to_owned());
            let upstream = upstream(snapshot, namespace).ok_or_else(unknown)?;
            return Self::new(name, upstream, &name.0);
        }
        if let Some((host, rest)) = name.0.split_once('/') {
            if let Some(upstream) = upstream(snapshot, host) {
                return Self::new(name, upstream, rest);
            }
            if host.contains(['.', ':']) || host == "localhost" {
                return Err(UnknownName::NotConfigured(host.to_owned()));
            }
        }
        let upstream = host
            .and_then(|host| reached_as(snapshot, host))
            .or_else(|| snapshot.default_upstream());
        Self::new(name, upstream.ok_or(UnknownName::NoDefault)?, &name.0)
    }

    fn new(
        name: &'a Name,
        upstream: &'a Arc<Upstream>,
        repository: &str,
    ) -> Result<Self, UnknownName> {
        let repository = if is_hub(upstream) && !repository.contains('/') {
            Repository::parse(&format!("library/{repository}"))
        } else {
            Repository::parse(repository)
        };
        Ok(Self {
            name,
            upstream,
            repository: repository.ok_or(UnknownName::Empty)?,
        })
    }
}

/// The upstream called `host`, also by another of its names: in any case, and
/// with the default port of https or http, which clients may add.
fn upstream<'a>(snapshot: &'a Snapshot, host: &str) -> Option<&'a Arc<Upstream>> {
    let host = lower_case(host);
    let called = |host: &str| {
        let hub = || {
            let alias = HUB_ALIASES.contains(&host);
            alias.then(|| snapshot.upstream(HUB)).flatten()
        };
        let upstream = snapshot.upstream(host).or_else(hub);
        upstream.or_else(|| snapshot.upstream_reached_by(host))
    };
    let without_port = || host.strip_suffix(":443").or(host.strip_suffix(":80"));
    called(&host).or_else(|| called(without_port()?))
}

fn lower_case(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// The upstream that a worker stands for which is reached as `host`. Its other
/// names stand for it at any port, its own name at the port that it has.
fn reached_as<'a>(snapshot: &'a Snapshot, host: &str) -> Option<&'a Arc<Upstream>> {
    let host = lower_case(host);
    let at_any_port = || snapshot.upstream_reached_by(without_port(&host));
    upstream(snapshot, &host).or_else(at_any_port)
}

/// The host of `host:port`.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_hub(upstream: &Upstream) -> bool {
    &*upstream.name == HUB || upstream.url.host_str() == Some(HUB_API)
}

/// A host name or an IPv6 address in brackets, optionally with a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let is_name = bytes.first().is_some_and(|&b| word(b))
        && bytes.last().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || b"._-".contains(&b));
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_address = address.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    host.len() <= 255
        && (is_name || is_address)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n.to_string() == port))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample;

    /// What `name` means where Docker Hub is the default, beside two others.
    fn meaning(name: &str, namespace: Option<&str>) -> Result<String, UnknownName> {
        meaning_at("metahub.example:7480", name, namespace)
    }

    /// The same, to one who reaches the worker as `host`.
    fn meaning_at(host: &str, name: &str, namespace: Option<&str>) -> Result<String, UnknownName> {
        let snapshot = sample::Sample::new()
            .upstream("docker.io", "https://registry-1.docker.io", true)
            .upstream("ghcr.io", "https://ghcr.io", false)
            .upstream("127.0.0.1:5001", "http://127.0.0.1:5001", false)
            .upstream("[2001:db8::1]:5000", "http://[2001:db8::1]:5000", false)
            .upstream_at_host("quay.test", "https://quay.test", "quay.mirror.example")
            .build();
        let name = Name::parse(name).expect("of the grammar");
        Target::find(&snapshot, &name, namespace, Some(host))
            .map(|target| format!("{} {}", target.upstream.name, target.repository))
    }

    #[test]
    fn a_name_without_host_goes_to_the_default_upstream() {
        assert_eq!(meaning("qnib/app", None).unwrap(), "docker.io qnib/app");
    }

    #[test]
    fn an_official_image_is_in_the_library_of_docker_hub_only() {
        assert_eq!(meaning("nginx", None).unwrap(), "docker.io library/nginx");
        assert_eq!(
            meaning("docker.io/nginx", None).unwrap(),
            "docker.io library/nginx"
        );
        assert_eq!(meaning("ghcr.io/app", None).unwrap(), "ghcr.io app");
    }

    #[test]
    fn a_first_component_that_is_an_upstream_names_it() {
        assert_eq!(meaning("ghcr.io/org/app", None).unwrap(), "ghcr.io org/app");
        assert_eq!(
            meaning("127.0.0.1:5001/app", None).unwrap(),
            "127.0.0.1:5001 app"
        );
        for alias in ["index.docker.io", "registry-1.docker.io"] {
            let name = format!("{alias}/library/nginx");
            assert_eq!(meaning(&name, None).unwrap(), "docker.io library/nginx");
        }
    }

    #[test]
    fn a_host_that_is_not_configured_is_not_looked_up_elsewhere() {
        for (name, host) in [
            ("quay.io/org/app", "quay.io"),
            ("localhost/app", "localhost"),
            ("here:5000/app", "here:5000"),
        ] {
            let unknown = UnknownName::NotConfigured(host.into());
            assert_eq!(meaning(name, None), Err(unknown));
        }
    }

    #[test]
    fn a_namespace_decides_alone() {
        assert_eq!(
            meaning("org/app", Some("ghcr.io")).unwrap(),
            "ghcr.io org/app"
        );
        assert_eq!(
            meaning("org/app", Some("quay.io")),
            Err(UnknownName::NotConfigured("quay.io".into()))
        );
    }

    #[test]
    fn a_namespace_may_be_another_name_of_docker_hub() {
        assert_eq!(
            meaning("library/nginx", Some("registry-1.docker.io")).unwrap(),
            "docker.io library/nginx"
        );
    }

    #[test]
    fn a_namespace_is_read_in_any_case_and_with_default_ports() {
        for (namespace, upstream) in [
            ("GHCR.io", "ghcr.io"),
            ("ghcr.io:443", "ghcr.io"),
            ("ghcr.io:80", "ghcr.io"),
            ("INDEX.docker.io:443", "docker.io"),
            ("127.0.0.1:5001", "127.0.0.1:5001"),
            ("[2001:DB8::1]:5000", "[2001:db8::1]:5000"),
        ] {
            let meaning = meaning("org/app", Some(namespace)).unwrap();
            assert_eq!(meaning, format!("{upstream} org/app"), "{namespace}");
        }
        for unknown in ["ghcr.io:5000", "127.0.0.1", "", "[2001:db8::1]"] {
            let meaning = meaning("org/app", Some(unknown));
            let refused = UnknownName::NotConfigured(unknown.into());
            assert_eq!(meaning, Err(refused), "{unknown}");
        }
    }

    #[test]
    fn an_upstream_may_be_named_by_an_ipv6_address() {
        assert_eq!(
            meaning("[2001:db8::1]:5000/org/app", None).unwrap(),
            "[2001:db8::1]:5000 org/app"
        );
        let unknown = UnknownName::NotConfigured("[::1]".into());
        assert_eq!(meaning("[::1]/org/app", None), Err(unknown));
    }

    #[test]
    fn a_worker_stands_for_the_upstream_that_it_is_reached_as() {
        for host in [
            "quay.mirror.example",
            "quay.mirror.example:7480",
            "Quay.Mirror.example:443",
            "quay.test",
        ] {
            let meaning = |name| meaning_at(host, name, None);
            assert_eq!(meaning("org/app").unwrap(), "quay.test org/app", "{host}");
            assert_eq!(meaning("ghcr.io/org/app").unwrap(), "ghcr.io org/app");
            assert!(meaning("other.io/org/app").is_err());
        }
        for host in ["quay.test:7480", "x.quay.test", "mirror.example", "[::1]:1"] {
            let meaning = meaning_at(host, "org/app", None).unwrap();
            assert_eq!(meaning, "docker.io org/app", "{host}");
        }
    }

    #[test]
    fn another_name_of_an_upstream_means_it_wherever_its_own_does() {
        let host = "quay.mirror.example";
        let name = format!("{host}/org/app");
        assert_eq!(meaning(&name, None).unwrap(), "quay.test org/app");
        let mirrored = meaning("org/app", Some(host));
        assert_eq!(mirrored.unwrap(), "quay.test org/app");
    }

    #[test]
    fn a_host_is_what_comes_before_the_port() {
        for (authority, expected) in [
            ("hub.example:7480", "hub.example"),
            ("hub.example", "hub.example"),
            ("[::1]:7480", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(authority), expected);
        }
    }

    #[test]
    fn hosts_outside_the_grammar_are_no_names() {
        for name in [
            "a:b/c",
            "a:/c",
            "a:99999/c",
            "a:080/c",
            "-a:1/c",
            "A.io:1/c",
            "a:1",
            "a:1/",
            "a:1/B",
            "[::1:5000/a",
            "[a.io]:1/a",
            "::1/a",
        ] {
            assert!(Name::parse(name).is_none(), "{name} was taken");
        }
    }
}
