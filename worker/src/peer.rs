//! Who is at the other end of a connection, and for whom it speaks.
//!
//! What a client says of itself counts for nothing: `X-Forwarded-For` and its
//! like are read only when a proxy sends them that the settings name.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderName, request::Parts};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

fn peer(request: &Parts) -> IpAddr {
    let peer = request.extensions.get::<Peer>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.to_canonical())
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

    proptest! {
        #[test]
        fn any_header_is_read_without_harm(text in "[ -~]{0,60}|([0-9.:a-f]{1,9},? ?){0,9}") {
            let request = request(PROXY, &[("x-forwarded-for", &text)]);

            let client = proxies().client(&request).to_string();

            prop_assert!(client == PROXY || text.contains(&client));
        }
    }
}
