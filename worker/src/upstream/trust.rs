//! Which addresses an upstream may point to.

use url::{Host, Url};

/// Whether two URLs have the same scheme, host and port.
pub(crate) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether a token server at `realm` may see the credentials for `upstream`:
/// it is the upstream itself, or it speaks https on the same registrable
/// domain (`auth.docker.io` for `registry-1.docker.io`). Plain http is good
/// enough where the upstream is at the same host and speaks nothing better.
pub(crate) fn is_trusted_realm(upstream: &Url, realm: &Url) -> bool {
    if has_user(realm) {
        return false;
    }
    if is_same_origin(upstream, realm) {
        return true;
    }
    match realm.scheme() {
        "https" => is_same_party(upstream, realm),
        "http" => upstream.scheme() == "http" && upstream.host() == realm.host(),
        _ => false,
    }
}

/// Whether a redirect from `from` to `to` may be followed, as far as the URLs
/// tell: never from https to http, never to another protocol, never with a
/// user in the URL.
pub(crate) fn is_trusted_redirect(from: &Url, to: &Url) -> bool {
    let safe = match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    };
    safe && to.has_host() && !has_user(to)
}

/// `to`, over https if it is plain http at the host of `from`, which speaks
/// https: a registry behind a proxy that ends TLS does not know its own scheme.
pub(crate) fn with_scheme_of(from: &Url, mut to: Url) -> Url {
    let is_own = from.scheme() == "https" && to.scheme() == "http" && from.host() == to.host();
    if is_own && (to.port().is_none() || to.port() == from.port()) {
        // Cannot fail: both are special schemes, with a host.
        let _ = to.set_scheme("https");
        let _ = to.set_port(from.port());
    }
    to
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether one party owns both hosts: they are equal, or within one
/// registrable domain of the public suffix list.
fn is_same_party(one: &Url, other: &Url) -> bool {
    match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => {
            one == other || psl::domain_str(one).is_some_and(|d| psl::domain_str(other) == Some(d))
        }
        (one, other) => one.is_some() && one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Url {
        url.parse().unwrap()
    }

    #[test]
    fn a_token_server_of_the_same_party_is_trusted() {
        for (upstream, realm) in [
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
            ),
            ("https://ghcr.io", "https://ghcr.io/token"),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            (
                "https://registry.example.co.uk",
                "https://auth.example.co.uk/token",
            ),
            (
                "https://registry.corp.internal",
                "https://auth.corp.internal",
            ),
            ("https://r.example:8443", "https://r.example:9443/token"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("https://10.0.0.1", "https://10.0.0.1:8443/token"),
        ] {
            assert!(is_trusted_realm(&url(upstream), &url(realm)), "{realm}");
        }
    }

    #[test]
    fn a_token_server_of_another_party_is_not_trusted() {
        for (upstream, realm) in [
            ("https://registry-1.docker.io", "https://docker.io.evil.com"),
            ("https://registry-1.docker.io", "https://evildocker.io"),
            ("https://registry-1.docker.io", "http://auth.docker.io"),
            (
                "https://registry-1.docker.io",
                "https://u:p@auth.docker.io/",
            ),
            ("https://r.example.co.uk", "https://evil.co.uk"),
            ("https://me.github.io", "https://evil.github.io"),
            ("https://registry.internal", "https://evil.internal"),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5001"),
            ("https://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("https://10.0.0.1", "https://10.0.0.2"),
            ("http://r.example", "ftp://r.example"),
        ] {
            assert!(!is_trusted_realm(&url(upstream), &url(realm)), "{realm}");
        }
    }

    #[test]
    fn a_registry_that_does_not_know_its_scheme_is_asked_over_https() {
        for (from, to, meant) in [
            (
                "https://r.test",
                "http://r.test/token",
                "https://r.test/token",
            ),
            (
                "https://r.test:5000",
                "http://r.test:5000/t",
                "https://r.test:5000/t",
            ),
            (
                "https://r.test:5000",
                "http://r.test/t",
                "https://r.test:5000/t",
            ),
            (
                "https://r.test",
                "http://r.test:8080/t",
                "http://r.test:8080/t",
            ),
            ("https://r.test", "http://cdn.test/t", "http://cdn.test/t"),
            ("http://r.test", "http://r.test/t", "http://r.test/t"),
        ] {
            assert_eq!(with_scheme_of(&url(from), url(to)), url(meant), "{to}");
        }
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let from = url("https://r.example/v2/");

        assert!(is_trusted_redirect(&from, &url("https://cdn.example/x")));
        assert!(!is_trusted_redirect(&from, &url("http://cdn.example/x")));
        assert!(!is_trusted_redirect(&from, &url("file:///etc/passwd")));
        assert!(!is_trusted_redirect(&from, &url("https://u@cdn.example/")));
    }
}
