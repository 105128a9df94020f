//! Who is at the other end of a connection, and for whom it speaks.
//!
//! What a client says of itself counts for nothing: `X-Forwarded-For` and its
//! like are read only when a proxy sends them that the settings name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, Version, header::HOST, request::Parts};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The part of an IPv6 address that is its network.
const NETWORK: u128 = !((1 << 64) - 1);
/// The longest host that is looked at, in bytes.
const MAX_HOST: usize = 255;

/// The address at the other end of a request's connection. Kept in the
/// request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(pub(crate) Vec<IpNet>);

impl Proxies {
    /// The address of the client that a request is from: the last one in
    /// `X-Forwarded-For` that is no proxy's own.
    pub(crate) fn client(&self, request: &Parts) -> IpAddr {
        let mut address = peer(request);
        let told = request.headers.get_all(FORWARDED_FOR);
        let told: Vec<&str> = told.iter().filter_map(|it| it.to_str().ok()).collect();
        let mut hops = told.iter().rev().flat_map(|line| line.rsplit(','));
        while self.trusts(address)
            && let Some(Ok(hop)) = hops.next().map(|hop| hop.trim().parse::<IpAddr>())
        {
            address = hop.to_canonical();
        }
        address
    }

    /// The scheme and the host that the client used, for example
    /// `https://registry.example.com`. `None` when it named no host.
    pub(crate) fn origin(&self, request: &Parts) -> Option<String> {
        let scheme = match self.forwarded(request, &FORWARDED_PROTO) {
            Some("https") => "https",
            _ => "http",
        };
        let host = self.host(request)?;
        Some(format!("{scheme}://{host}"))
    }

    /// The worker as the client knows it: a host, optionally with a port.
    pub(crate) fn host<'a>(&self, request: &'a Parts) -> Option<&'a str> {
        let host = self
            .forwarded(request, &FORWARDED_HOST)
            .or_else(|| one(&request.headers, &HOST))
            .or_else(|| request.uri.authority().map(|it| it.as_str()))?;
        is_host(host).then_some(host)
    }

    /// What a trusted proxy says in a header.
    fn forwarded<'a>(&self, request: &'a Parts, name: &HeaderName) -> Option<&'a str> {
        let is_trusted = self.trusts(peer(request));
        is_trusted.then(|| one(&request.headers, name)).flatten()
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

/// Whether a request says once which host it is for, or need not say it: HTTP/1.0
/// knows no hosts, and HTTP/2 has another place for them (RFC 9112, section 3.2).
pub(crate) fn names_host(request: &Parts) -> bool {
    match request.headers.get_all(HOST).iter().count() {
        0 => request.version != Version::HTTP_11,
        hosts => hosts == 1,
    }
}

fn peer(request: &Parts) -> IpAddr {
    let peer = request.extensions.get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.to_canonical())
}

/// The value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Nothing that could end a quoted text or start a path.
fn is_host(host: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const CLIENT: &str = "192.0.2.7";

    fn proxies() -> Proxies {
        Proxies(vec!["10.0.0.0/8".parse().unwrap()])
    }

    fn request(peer: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/v2/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        parts
    }

    fn client(peer: &str, told: &[&str]) -> String {
        let told: Vec<_> = told.iter().map(|it| ("x-forwarded-for", *it)).collect();
        proxies().client(&request(peer, &told)).to_string()
    }

    #[test]
    fn a_proxy_that_is_trusted_says_for_whom_it_speaks() {
        assert_eq!(client(PROXY, &[CLIENT]), CLIENT);
        assert_eq!(client("::ffff:10.0.0.1", &[CLIENT]), CLIENT);
        assert_eq!(client(PROXY, &["1.1.1.1, 192.0.2.7, 10.0.0.2"]), CLIENT);
        assert_eq!(client(PROXY, &["1.1.1.1", CLIENT, "10.0.0.2"]), CLIENT);
    }

    #[test]
    fn nobody_else_speaks_for_another() {
        assert_eq!(client(CLIENT, &["1.1.1.1"]), CLIENT);
        assert_eq!(client(PROXY, &["1.1.1.1, nonsense"]), PROXY);
        assert_eq!(client(PROXY, &[]), PROXY);
    }

    #[test]
    fn a_client_used_the_host_that_it_names_and_the_scheme_that_a_proxy_tells() {
        let https = ("x-forwarded-proto", "https");
        let origin = |peer, headers: &[_]| proxies().origin(&request(peer, headers));
        let host = ("host", "here:7480");

        let plain = Some("http://here:7480".to_owned());
        assert_eq!(origin(CLIENT, &[host, https]), plain);
        let secure = Some("https://here:7480".to_owned());
        assert_eq!(origin(PROXY, &[host, https]), secure);
        let outer = ("x-forwarded-host", "outer");
        assert_eq!(
            origin(PROXY, &[host, https, outer]),
            Some("https://outer".to_owned())
        );
        assert_eq!(origin(CLIENT, &[host, outer]), plain);
    }

    #[test]
    fn a_host_that_is_none_or_two_is_not_used() {
        for headers in [
            &[][..],
            &[("host", "")],
            &[("host", "a\",realm=\"b")],
            &[("host", "a/b")],
            &[("host", "a"), ("host", "b")],
        ] {
            assert_eq!(proxies().origin(&request(CLIENT, headers)), None);
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(text in "[ -~]{0,300}") {
            let names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "host"];
            let request = request(PROXY, &names.map(|name| (name, text.as_str())));

            proxies().client(&request);
            let origin = proxies().origin(&request);

            prop_assert!(!origin.unwrap_or_default().contains('"'));
        }
    }
}
