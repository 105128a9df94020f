//! Tests of the client's address, scheme and host, with and without proxies.

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

fn origin(peer: &str, headers: &[(&str, &str)]) -> Option<String> {
    proxies().origin(&request(peer, headers))
}

fn client(peer: &str, told: &[(&str, &str)]) -> String {
    let client = proxies().client(&request(peer, told));
    match client.reported_by {
        None => client.address.to_string(),
        Some(by) => format!("{} by {by}", client.address),
    }
}

fn listed(peer: &str, told: &[&str]) -> String {
    let told: Vec<_> = told.iter().map(|it| ("x-forwarded-for", *it)).collect();
    client(peer, &told)
}

#[test]
fn a_proxy_that_is_trusted_says_for_whom_it_speaks() {
    assert_eq!(listed(PROXY, &[CLIENT]), CLIENT);
    assert_eq!(listed("::ffff:10.0.0.1", &[CLIENT]), CLIENT);
    assert_eq!(listed(PROXY, &["1.1.1.1, 192.0.2.7:4711"]), CLIENT);
    assert_eq!(listed(PROXY, &["1.1.1.1", CLIENT]), CLIENT);
}

#[test]
fn nobody_else_speaks_for_another() {
    assert_eq!(listed(CLIENT, &["1.1.1.1"]), CLIENT);
    assert_eq!(listed(PROXY, &["1.1.1.1, nonsense"]), PROXY);
    assert_eq!(listed(PROXY, &[]), PROXY);
}

#[test]
fn an_address_beyond_a_trusted_one_is_known_to_be_reported_by_that() {
    for told in [&["1.1.1.1, 192.0.2.7, 10.0.0.2"][..], &[CLIENT, "10.0.0.2"]] {
        assert_eq!(listed(PROXY, told), "192.0.2.7 by 10.0.0.2");
    }
    let made_up = "1.1.1.1, 10.9.9.9, 10.0.0.2";
    assert_eq!(listed(PROXY, &[made_up]), "1.1.1.1 by 10.0.0.2");
}

#[test]
fn forwarded_tells_the_client_and_a_client_cannot_tell_another() {
    let forwarded = |value| ("forwarded", value);
    let told = r#"for=1.1.1.1, for="192.0.2.7:80";proto=https"#;

    assert_eq!(client(PROXY, &[forwarded(told)]), CLIENT);
    let both = [forwarded(told), ("x-forwarded-for", CLIENT)];
    assert_eq!(client(PROXY, &both), CLIENT);
    let hidden = [forwarded("proto=https"), ("x-forwarded-for", CLIENT)];
    assert_eq!(client(PROXY, &hidden), CLIENT);
    for made_up in ["for=1.1.1.1", "for=unknown", "for=\""] {
        let both = [forwarded(made_up), ("x-forwarded-for", CLIENT)];
        assert_eq!(client(PROXY, &both), PROXY, "{made_up}");
    }
}

#[test]
fn a_client_used_the_host_that_it_names_and_the_scheme_that_a_proxy_tells() {
    let https = ("x-forwarded-proto", "https");
    let host = ("host", "here:7480");

    let plain = Some("http://here:7480".to_owned());
    assert_eq!(origin(CLIENT, &[host, https]), plain);
    assert_eq!(origin(PROXY, &[host]), plain);
    let secure = Some("https://here:7480".to_owned());
    assert_eq!(origin(PROXY, &[host, https]), secure);
    let outer = ("x-forwarded-host", "outer");
    assert_eq!(
        origin(PROXY, &[host, https, outer]),
        Some("https://outer".to_owned())
    );
    assert_eq!(origin(CLIENT, &[host, outer]), plain);
}

/// What proxies and balancers are documented, or were reported, to send for
/// `https://hub.example`.
#[test]
fn the_headers_of_proxies_in_use_are_understood() {
    let host = ("host", "hub.example");
    let proto = |value| ("x-forwarded-proto", value);
    let port = |value| ("x-forwarded-port", value);
    for headers in [
        // AWS's application balancer, and nginx behind it on its own port 80.
        &[host, proto("https"), port("443")][..],
        &[host, proto("https"), port("80")],
        // OpenShift's router that appends, behind a balancer.
        &[
            ("host", "inner.lan"),
            ("x-forwarded-host", "hub.example,inner.lan"),
            proto("https,http"),
            port("443,80"),
            (
                "forwarded",
                r#"for=192.0.2.7;host=inner.lan;proto=http;proto-version="""#,
            ),
        ],
        // lighttpd, node-http-proxy and others in several lines.
        &[host, proto("HTTPS , http, http")],
        &[host, proto("https"), proto("http")],
        // ingress-nginx.
        &[
            host,
            proto("https"),
            ("x-forwarded-scheme", "https"),
            port("443"),
        ],
        // HAProxy's `option forwarded`.
        &[
            ("host", "inner:80"),
            (
                "forwarded",
                "proto=https;host=\"hub.example\";for=192.0.2.7",
            ),
        ],
        // What several hosters and Microsoft's balancers send.
        &[host, ("x-forwarded-ssl", "on")],
        &[host, ("front-end-https", "On")],
        &[host, ("x-forwarded-protocol", "https")],
        // Traefik, for WebSockets.
        &[host, proto("wss")],
    ] {
        let origin = origin(PROXY, headers);
        assert_eq!(
            origin.as_deref(),
            Some("https://hub.example"),
            "{headers:?}"
        );
    }
}

#[test]
fn a_port_is_not_lost_and_none_is_made_up() {
    let at = |host, port| {
        let https = ("x-forwarded-proto", "https");
        origin(PROXY, &[("host", host), https, ("x-forwarded-port", port)]).unwrap()
    };

    assert_eq!(at("hub.example", "8443"), "https://hub.example:8443");
    assert_eq!(at("hub.example", " 8443, 80"), "https://hub.example:8443");
    assert_eq!(at("hub.example:5000", "8443"), "https://hub.example:5000");
    assert_eq!(at("[::1]", "8443"), "https://[::1]:8443");
    assert_eq!(at("[::1]:5000", "8443"), "https://[::1]:5000");
    for port in ["443", "80", "0", "-1", "https", "70000", ""] {
        assert_eq!(at("hub.example", port), "https://hub.example", "{port}");
    }
}

#[test]
fn what_is_not_understood_never_makes_passwords_go_in_plain_text() {
    let host = ("host", "hub.example");
    for odd in [
        ("x-forwarded-proto", "h2"),
        ("x-forwarded-proto", ""),
        ("x-forwarded-proto", "\u{e9}"),
        ("x-forwarded-ssl", "yes"),
        ("forwarded", "https"),
        ("forwarded", "proto=\"http"),
        ("forwarded", "for=1.1.1.1;proto=tls"),
    ] {
        let off = ("front-end-https", "off");
        for headers in [&[host, odd][..], &[host, odd, off]] {
            let origin = origin(PROXY, headers);
            assert_eq!(
                origin.as_deref(),
                Some("https://hub.example"),
                "{headers:?}"
            );
        }
    }
    for plain in ["http", "HTTP, https", "ws"] {
        let origin = origin(PROXY, &[host, ("x-forwarded-proto", plain)]);
        assert_eq!(origin.as_deref(), Some("http://hub.example"), "{plain}");
    }
}

#[test]
fn a_host_that_is_none_or_two_is_not_used() {
    for headers in [
        &[][..],
        &[("host", "")],
        &[("host", "a\",realm=\"b")],
        &[("host", "a/b")],
        &[("host", "[::1")],
        &[("host", "a:b")],
        &[("host", "a"), ("host", "b")],
    ] {
        assert_eq!(origin(CLIENT, headers), None);
    }
    let headers = [("host", "own"), ("x-forwarded-host", "a/b")];
    assert_eq!(origin(PROXY, &headers).as_deref(), Some("http://own"));
}

/// Whether a request in `version` for `target` with these hosts says clearly
/// which host it is for, and if so which.
fn named(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
    let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
    let mut request = request(CLIENT, &hosts);
    (request.version, request.uri) = (version, target.parse().unwrap());
    let host = Proxies::default().host(&request);
    names_host(&request).then(|| host.unwrap_or_default().into_owned())
}

#[test]
fn the_host_of_an_absolute_target_wins_in_http1() {
    let named = |target, hosts: &[_]| named(Version::HTTP_11, target, hosts);

    assert_eq!(named("/v2/", &["a:1"]).as_deref(), Some("a:1"));
    assert_eq!(named("http://b/v2/", &["a"]).as_deref(), Some("b"));
    assert_eq!(named("/v2/", &[""]).as_deref(), Some(""));
    for (target, hosts) in [
        ("/v2/", &[][..]),
        ("http://b/v2/", &[]),
        ("/v2/", &["a", "a"]),
        ("/v2/", &["a b"]),
        ("http://user@b/v2/", &["b"]),
    ] {
        assert_eq!(named(target, hosts), None, "{target} {hosts:?}");
    }
}

#[test]
fn a_host_that_contradicts_the_authority_of_http2_is_refused() {
    let named = |target, hosts: &[_]| named(Version::HTTP_2, target, hosts);

    let same = [&[][..], &["a"], &["A:80"], &["a:443"]];
    for hosts in same {
        let host = named("http://a/v2/", hosts);
        assert_eq!(host.as_deref(), Some("a"), "{hosts:?}");
    }
    assert_eq!(named("/v2/", &["a"]).as_deref(), Some("a"));
    for hosts in [&["b"][..], &["a:8443"], &["a", "a"], &[""]] {
        assert_eq!(named("http://a/v2/", hosts), None, "{hosts:?}");
    }
}

proptest! {
    #[test]
    fn any_header_is_read_without_harm(text in "[ -~]{0,300}") {
        let names = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "host"];
        let request = request(PROXY, &names.map(|name| (name, text.as_str())));

        proxies().client(&request);
        let origin = proxies().origin(&request);

        prop_assert!(!origin.unwrap_or_default().contains('"'));
    }
}
