//! The places that an engine requests a registry's images from, in order, and
//! the effect of the order on selection: the same for all engines.

use url::{Host, Url};

use super::super::finding::Finding;

/// The addresses by which an engine reaches MetaHub.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Addresses {
    /// The workers' balancer.
    pub(in super::super) registry: Option<Url>,
    /// The node proxy on this host.
    pub(in super::super) node: Option<Url>,
}

/// The address by which an engine reaches MetaHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    Registry,
    Node,
}

/// The places for the images of one registry, in the engine's order.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The registry as in image names, for example `docker.io`, or `all
    /// registries`.
    pub(super) registry: String,
    /// The file that defines the route.
    pub(super) file: String,
    pub(super) places: Vec<Place>,
}

/// One place that an engine requests images from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// A URL, or a host with or without a port and a path.
    pub(super) address: String,
    /// Whether the engine resolves tags there, and not digests only.
    pub(super) resolves: bool,
}

/// The changes that can correct an engine's route.
pub(super) struct Remedy<'a> {
    pub(super) check: &'static str,
    /// The command that configures the engine anew.
    pub(super) configure: &'a str,
    /// The reason why a refusal cannot be made final, if it cannot.
    pub(super) unenforceable: Option<&'a str>,
}

impl Place {
    pub(super) fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            resolves: true,
        }
    }
}

impl Addresses {
    /// The MetaHub address that `text` names.
    pub(in super::super) fn way(&self, text: &str) -> Option<Way> {
        let is = |url: &Option<Url>| url.as_ref().is_some_and(|url| is_same(url, text));
        match (is(&self.node), is(&self.registry)) {
            (true, _) => Some(Way::Node),
            (_, true) => Some(Way::Registry),
            _ => None,
        }
    }
}

/// Whether `text` names the host and port of `url`. A `text` without a scheme
/// has the scheme of `url`.
fn is_same(url: &Url, text: &str) -> bool {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("{}://{text}", url.scheme()),
    };
    let Ok(other) = Url::parse(&whole) else {
        return false;
    };
    let is_local = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let is_same_host = url.host() == other.host() || (is_local(url) && is_local(&other));
    is_same_host && url.port_or_known_default() == other.port_or_known_default()
}

impl Route {
    /// The position of MetaHub among the places, if it is one of them.
    pub(super) fn position(&self, addresses: &Addresses) -> Option<usize> {
        let mut places = self.places.iter();
        places.position(|it| addresses.way(&it.address).is_some())
    }

    /// The finding for the order of the places, good or bad. `None`: the route
    /// does not lead to MetaHub.
    pub(super) fn judge(&self, addresses: &Addresses, remedy: &Remedy<'_>) -> Option<Finding> {
        let position = self.position(addresses)?;
        let Self { registry, file, .. } = self;
        let Remedy {
            check, configure, ..
        } = remedy;
        let place = &self.places[position];
        let before = self.places[..position].iter().find(|it| it.resolves);
        if let Some(before) = before {
            let what = format!(
                "{file}: tags of {registry} are resolved by {} before MetaHub: it hands out the variant of another host",
                shown(&before.address)
            );
            let next =
                format!("put MetaHub first, or leave `resolve` to MetaHub alone; {configure}");
            return Some(Finding::fail(check, what, next));
        }
        if !place.resolves {
            let what = format!("{file}: tags of {registry} are not resolved by MetaHub");
            return Some(Finding::fail(check, what, *configure));
        }
        let after = self.places[position + 1..]
            .iter()
            .find(|it| addresses.way(&it.address).is_none());
        match (after, remedy.unenforceable) {
            (None, _) => {
                let what =
                    format!("{file}: images of {registry} come from MetaHub and from nowhere else");
                Some(Finding::ok(check, what))
            }
            (Some(after), why) => {
                let what = format!(
                    "{file}: not enforced: after a refusal of MetaHub, images of {registry} come from {}",
                    shown(&after.address)
                );
                let next = why.map_or_else(|| format!("{configure} --enforce"), str::to_owned);
                Some(Finding::warn(check, what, next))
            }
        }
    }
}

/// An address without a user, a password or a query.
pub(super) fn shown(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}{rest}")
}

#[cfg(test)]
mod tests {
    use super::{super::super::finding::Status, *};

    const REMEDY: Remedy<'_> = Remedy {
        check: "engine",
        configure: "configure",
        unenforceable: None,
    };

    fn addresses() -> Addresses {
        Addresses {
            registry: Some("https://metahub.example".parse().unwrap()),
            node: Some("http://127.0.0.1:5000".parse().unwrap()),
        }
    }

    fn judged(places: &[&str]) -> Option<Status> {
        let route = Route {
            registry: "docker.io".into(),
            file: "file".into(),
            places: places.iter().map(|it| Place::new(*it)).collect(),
        };
        route.judge(&addresses(), &REMEDY).map(|it| it.status)
    }

    #[test]
    fn an_address_is_metahubs_however_it_is_written() {
        let addresses = addresses();
        for text in [
            "https://metahub.example/v2/",
            "metahub.example/docker.io",
            "metahub.example:443",
        ] {
            assert_eq!(addresses.way(text), Some(Way::Registry), "{text}");
        }
        for text in [
            "http://localhost:5000",
            "127.0.0.1:5000",
            "http://[::1]:5000/v2",
        ] {
            assert_eq!(addresses.way(text), Some(Way::Node), "{text}");
        }
        for text in [
            "http://metahub.example",
            "127.0.0.1:5001",
            "ghcr.io",
            "",
            "::",
        ] {
            assert_eq!(addresses.way(text), None, "{text}");
        }
    }

    #[test]
    fn what_comes_before_metahub_fails_and_what_comes_after_it_warns() {
        let (node, hub) = ("http://127.0.0.1:5000", "https://registry-1.docker.io");

        assert_eq!(judged(&[node]), Some(Status::Ok));
        assert_eq!(judged(&[node, "https://metahub.example"]), Some(Status::Ok));
        assert_eq!(judged(&[node, hub]), Some(Status::Warn));
        assert_eq!(
            judged(&["http://127.0.0.1:30020", node]),
            Some(Status::Fail)
        );
        assert_eq!(judged(&[hub]), None);
    }

    #[test]
    fn a_mirror_that_resolves_no_tags_may_come_first() {
        let mut peer = Place::new("http://127.0.0.1:4001");
        peer.resolves = false;
        let route = Route {
            registry: "docker.io".into(),
            file: "file".into(),
            places: vec![peer, Place::new("127.0.0.1:5000")],
        };

        let judged = route.judge(&addresses(), &REMEDY).unwrap();

        assert_eq!(judged.status, Status::Ok);
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        assert_eq!(
            shown("https://user:pass@mirror.example/v2?token=1"),
            "https://mirror.example/v2"
        );
    }
}
