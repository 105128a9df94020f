//! Removes the headers that the proxy does not forward.

use http::{
    HeaderMap, HeaderName,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE, WWW_AUTHENTICATE,
    },
};

/// The header with the registry API's version, on every response of a worker.
pub(super) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");

/// Headers for one connection (RFC 9110, 7.6.1), and two nonstandard ones.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// A client's credentials, its claims about its address, and headers of request
/// bodies, which the proxy does not forward.
const OF_CLIENTS: [HeaderName; 12] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];
/// Challenges, which would make an engine ask its user for a login, and
/// cookies, which engines do not send back.
const OF_BALANCERS: [HeaderName; 2] = [WWW_AUTHENTICATE, SET_COOKIE];

/// Removes the headers that the balancer must not receive.
pub(super) fn keep_request(headers: &mut HeaderMap) {
    remove(headers, &OF_CLIENTS);
}

/// Removes the headers that the engine must not receive.
pub(super) fn keep_answer(headers: &mut HeaderMap) {
    remove(headers, &OF_BALANCERS);
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    let listed = headers.get_all(CONNECTION).iter();
    let listed: Vec<HeaderName> = listed
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP).chain(names) {
        headers.remove(name);
    }
}

/// Whether the `Host` header `host` names this host as local engines do: by an
/// address, as `localhost`, or by a name without a domain. This excludes a web
/// page whose own name resolves to loopback.
pub(super) fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let in_brackets = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = in_brackets.unwrap_or(name);
    address.parse::<std::net::IpAddr>().is_ok() || !name.contains(['.', '['])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn credentials_cookies_and_what_a_client_says_of_itself_do_not_pass() {
        let mut given = headers(&[
            ("authorization", "Basic x"),
            ("proxy-authorization", "Basic x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("host", "127.0.0.1:5000"),
            ("accept", "a/b"),
            ("range", "bytes=1-"),
        ]);

        keep_request(&mut given);

        let mut left: Vec<_> = given.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "range"]);
    }

    #[test]
    fn what_connection_lists_does_not_pass() {
        let mut given = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("etag", "\"a\""),
        ]);

        keep_answer(&mut given);

        let left: Vec<_> = given.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["etag"]);
    }

    #[test]
    fn a_name_with_a_domain_is_not_local() {
        for host in [
            "127.0.0.1:5000",
            "localhost",
            "localhost:1",
            "[::1]:5000",
            "node:5000",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "evil.example:5000",
            "evil.example",
            "[::1].evil:1",
            "1.2.3.4.evil",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
