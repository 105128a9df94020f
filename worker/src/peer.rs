//! Who is at the other end of a connection, and for whom it speaks.
//!
//! What a client says of itself counts for nothing: `X-Forwarded-For` and its
//! like are read only when a proxy sends them that the settings name.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Once},
};

use http::{HeaderMap, Version, header::HOST, request::Parts};
use ipnet::IpNet;
use tracing::warn;

mod forwarded;

use self::forwarded::Element;
use crate::auth::ClientCertificate;

/// The part of an IPv6 address that is its network.
const NETWORK: u128 = !((1 << 64) - 1);
/// The longest host that is looked at, in bytes.
const MAX_HOST: usize = 255;
/// One warning is enough: strangers can cause it.
static UNTRUSTED: Once = Once::new();
/// Ports that no one has to say.
const DEFAULT_PORTS: [u16; 2] = [80, 443];

/// The address at the other end of a request's connection. Kept in the
/// request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The security of a request's connection: TLS at this worker, or at the proxy
/// before it. Kept in the request's extensions; absent for plain text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secured {
    /// The client certificate that the handshake verified.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
}

/// The proxies whose headers count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(pub(crate) Vec<IpNet>);

/// Where a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The nearest address that a trusted proxy reported, where that is in a
    /// trusted network as well. If it is a client, it chose `address` itself.
    pub(crate) reported_by: Option<IpAddr>,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            reported_by: None,
        }
    }
}

impl Proxies {
    /// The client that a request is from: the nearest hop that is no trusted
    /// proxy, in `X-Forwarded-For` or `Forwarded`. A proxy may write one of the
    /// two and pass the other on as a client made it up: where they contradict
    /// each other, the request is from the peer.
    pub(crate) fn client(&self, request: &Parts) -> Client {
        let peer = Client::from(peer(request));
        if !self.trusts(peer.address) {
            return peer;
        }
        let hops = forwarded::values(&request.headers, &forwarded::FOR);
        let listed = self.nearest(peer, hops.map(forwarded::address).collect());
        let elements = forwarded::elements(&request.headers).map(|elements| {
            let hops = elements.iter().filter_map(|it| it.client.as_deref());
            self.nearest(peer, hops.map(forwarded::address).collect())
        });
        match (listed, elements.unwrap_or(Some(peer))) {
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) if one.address == other.address => one,
            _ => peer,
        }
    }

    /// The nearest hop that is not trusted, or else the farthest that is known.
    /// `None`: there are no hops.
    fn nearest(&self, peer: Client, mut hops: Vec<Option<IpAddr>>) -> Option<Client> {
        let Some(nearest) = hops.pop()? else {
            return Some(peer);
        };
        let mut address = nearest;
        while self.trusts(address)
            && let Some(Some(hop)) = hops.pop()
        {
            address = hop;
        }
        Some(Client {
            address,
            reported_by: (address != nearest).then_some(nearest),
        })
    }

    /// The scheme and the host that the client used, for example
    /// `https://registry.example.com`. `None` when it named no host.
    pub(crate) fn origin(&self, request: &Parts) -> Option<String> {
        let (peer, elements) = (peer(request), forwarded::elements(&request.headers));
        let said = forwarded::is_secure(&request.headers, elements.as_deref());
        let is_trusted = self.trusts(peer);
        let is_own = request.extensions.get::<Secured>().is_some();
        if said == Some(true) && !is_trusted && !is_own {
            UNTRUSTED.call_once(|| {
                warn!(
                    "{peer} says that its client uses https, and is no trusted proxy: engines behind it are sent to the token endpoint by http; if it is a load balancer, name it by --trusted-proxy"
                );
            });
        }
        let scheme = match said.filter(|_| is_trusted).unwrap_or(is_own) {
            true => "https",
            false => "http",
        };
        Some(format!("{scheme}://{}", self.host(request)?))
    }

    /// The worker as the client knows it: a host, optionally with a port.
    pub(crate) fn host<'a>(&self, request: &'a Parts) -> Option<Cow<'a, str>> {
        let own = own_host(request).filter(|host| is_host(host));
        if !self.trusts(peer(request)) {
            return own.map(Cow::Borrowed);
        }
        let headers = &request.headers;
        let elements = forwarded::elements(headers).unwrap_or_default();
        let said = forwarded::values(headers, &forwarded::HOST).next();
        let said = said.filter(|host| is_host(host)).map(Cow::Borrowed);
        let in_element = |element: Element| element.host.filter(|host| is_host(host));
        let host = said
            .or_else(|| elements.into_iter().find_map(in_element).map(Cow::Owned))
            .or(own.map(Cow::Borrowed))?;
        let port = forwarded::values(headers, &forwarded::PORT).next();
        let port = port.and_then(|port| port.parse::<u16>().ok());
        let port = port.filter(|port| *port > 0 && !DEFAULT_PORTS.contains(port));
        Some(match port {
            Some(port) if split_port(&host).1.is_none() => Cow::Owned(format!("{host}:{port}")),
            _ => host,
        })
    }

    /// Whether `address` is one of them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// What stands for `address` where hosts are told apart: for IPv6 its network,
/// since one host may have all of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & NETWORK).into(),
    }
}

/// Whether a request says clearly which host it is for, or need not say it.
///
/// HTTP/1.0 knows no hosts. HTTP/1.1 wants one `Host`, which gives way to the
/// host of an absolute target (RFC 9112, sections 3.2 and 3.2.2). In HTTP/2 a
/// `Host` must not contradict `:authority` (RFC 9113, section 8.3.1).
pub(crate) fn names_host(request: &Parts) -> bool {
    let target = request.uri.authority().map(|it| it.as_str());
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or("?"));
    let is_missing = host.is_none() && request.version == Version::HTTP_11;
    let is_other = |(host, target): (&str, &str)| {
        request.version == Version::HTTP_2 && !is_same_host(host, target)
    };
    hosts.next().is_none()
        && !is_missing
        && host.is_none_or(|host| host.is_empty() || is_host(host))
        && target.is_none_or(is_host)
        && !host.zip(target).is_some_and(is_other)
}

/// The host of a request's target, or else of its `Host`.
fn own_host(request: &Parts) -> Option<&str> {
    let target = request.uri.authority().map(|it| it.as_str());
    target.or_else(|| one(&request.headers))
}

fn is_same_host(one: &str, other: &str) -> bool {
    let ((one, one_port), (other, other_port)) = (split_port(one), split_port(other));
    let is_default = |port: &Option<u16>| port.is_none_or(|it| DEFAULT_PORTS.contains(&it));
    one.eq_ignore_ascii_case(other)
        && (one_port == other_port || (is_default(&one_port) && is_default(&other_port)))
}

/// A host and its port, if it has one. An IPv6 address is in brackets.
fn split_port(host: &str) -> (&str, Option<u16>) {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, port)) if is_number(port) && port.parse::<u16>().is_ok() => {
            (name, port.parse().ok())
        }
        _ => (host, None),
    }
}

fn peer(request: &Parts) -> IpAddr {
    let peer = request.extensions.get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.to_canonical())
}

/// The value of a `Host` that is there once.
fn one(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// A name or an address, an IPv6 address in brackets, optionally with a port.
/// Nothing that could end a quoted text or start a path.
fn is_host(host: &str) -> bool {
    let (name, _) = split_port(host);
    let literal = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(good);
    let is_address = literal.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    host.len() <= MAX_HOST && (is_name || is_address)
}

#[cfg(test)]
mod tests;
