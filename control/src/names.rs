//! The grammar of names, digests and addresses, checked once at the edge.
//!
//! A login is `<user>-<type>`. So that it can be read in one way only, a
//! user's name has no `-`; a type's may.

use std::net::Ipv6Addr;

use url::Url;

use crate::{Error, Result};

const LONGEST_NAME: usize = 64;
const LONGEST_PATTERN: usize = 512;

/// `[a-z0-9]+([._][a-z0-9]+)*`.
pub(crate) fn check_user(field: &str, name: &str) -> Result<()> {
    check_words(field, name, "._")
}

/// `[a-z0-9]+([._-][a-z0-9]+)*`: a machine type's or a rule's name.
pub(crate) fn check_type(field: &str, name: &str) -> Result<()> {
    check_words(field, name, "._-")
}

fn check_words(field: &str, name: &str, separators: &str) -> Result<()> {
    let words_fit = name
        .split(|c| separators.contains(c))
        .all(|word| !word.is_empty() && word.bytes().all(is_lower_alphanumeric));
    if words_fit && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let listed: Vec<String> = separators.chars().map(|c| format!("`{c}`")).collect();
    Err(Error::invalid(
        field,
        format!(
            "`{}` is not a name: use lower-case letters and digits, with single {} between them, {LONGEST_NAME} at most",
            shortened(name),
            listed.join(" or ")
        ),
    ))
}

/// A host with an optional port, as clients write it in front of a repository.
///
/// It has a dot, a port, or is `localhost`, so that no first component of a
/// repository can be mistaken for it.
pub(crate) fn check_upstream(field: &str, name: &str) -> Result<()> {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let is_v6 = is_v6_literal(host);
    let host_fits = is_v6 || host.split('.').all(is_host_label);
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_told_apart = is_v6 || port.is_some() || host.contains('.') || host == "localhost";
    if host_fits && port_fits && is_told_apart && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!(
            "`{}` is not an upstream's name: use the host that clients write, such as `ghcr.io` or `registry:5000`",
            shortened(name)
        ),
    ))
}

/// An IPv6 address in brackets, in the one form that URLs have (RFC 5952).
fn is_v6_literal(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let parsed = address.and_then(|it| it.parse::<Ipv6Addr>().ok());
    parsed.is_some_and(|it| format!("[{it}]") == host)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| is_lower_alphanumeric(b) || b == b'-')
}

/// Checks an upstream's URL and returns it without a trailing slash, and
/// without the `/v2` that every registry has. A path before that stays.
pub(crate) fn upstream_url(field: &str, text: &str) -> Result<String> {
    let wrong = |reason: String| Err(Error::invalid(field, reason));
    let url = match Url::parse(text) {
        _ if !text.contains("://") => {
            let text = shortened(text);
            return wrong(format!("`{text}` has no scheme: write `https://{text}`"));
        }
        Err(_) => return wrong("is not a URL: for example `https://ghcr.io`".into()),
        Ok(url) => url,
    };
    if let Some(reason) = wrong_url(&url) {
        return wrong(format!("{reason}: for example `https://ghcr.io`"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v2").unwrap_or(path);
    let path = path.trim_end_matches('/');
    Ok(format!("{}{path}", url.origin().ascii_serialization()))
}

/// Checks a proxy's URL. One without a scheme is http.
pub(crate) fn proxy_url(field: &str, text: &str) -> Result<String> {
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let reason = match Url::parse(&text) {
        Err(_) => "is not a URL",
        Ok(url) if url.password().is_some() => {
            "holds a password: leave it out, and give it as the proxy's password"
        }
        Ok(mut url) => {
            let user = url.username().to_owned();
            let _ = url.set_username("");
            match wrong_url(&url) {
                Some(reason) => reason,
                None if url.path() != "/" => "has a path; leave it out",
                None => {
                    let _ = url.set_username(&user);
                    return Ok(url.as_str().trim_end_matches('/').to_owned());
                }
            }
        }
    };
    let example = "for example `http://proxy.example:3128`, or `none` for no proxy";
    Err(Error::invalid(field, format!("{reason}: {example}")))
}

/// Checks a token server's host with an optional port, and returns it as URLs
/// write it.
pub(crate) fn token_host(field: &str, text: &str) -> Result<String> {
    let url = Url::parse(&format!("http://{text}/")).ok();
    let url = url.filter(|url| wrong_url(url).is_none() && url.path() == "/");
    let host = url.as_ref().and_then(Url::host_str);
    // As given: what is a scheme's default is not in the URL.
    let port = text.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| !port.ends_with(']'));
    match (host, port) {
        (Some(host), None) if !text.contains('/') => Ok(host.to_owned()),
        (Some(host), Some(port)) if port.parse::<u16>().is_ok_and(|it| it > 0) => {
            Ok(format!("{host}:{port}"))
        }
        _ => Err(Error::invalid(
            field,
            format!(
                "`{}` is not a host with an optional port, such as `auth.example.com` or `[::1]:5001`",
                shortened(text)
            ),
        )),
    }
}

fn wrong_url(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        Some("is neither http nor https")
    } else if url.host_str().is_none_or(str::is_empty) {
        Some("has no host")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("holds credentials; give them as username and password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("has a query or a fragment; leave it out")
    } else {
        None
    }
}

/// `sha256:` or `sha512:` and lower-case hex digits.
pub(crate) fn check_digest(field: &str, digest: &str) -> Result<()> {
    let fits = match digest.split_once(':') {
        Some(("sha256", hex)) => is_lower_hex(hex, 64),
        Some(("sha512", hex)) => is_lower_hex(hex, 128),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!(
            "`{}` is not a digest: `sha256:` and 64 lower-case hex digits",
            shortened(digest)
        ),
    ))
}

/// A repository's name at its upstream, in the distribution spec's grammar.
pub(crate) fn check_repository(field: &str, name: &str) -> Result<()> {
    if name.len() <= 255 && name.split('/').all(is_component) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("`{}` is not a repository's name", shortened(name)),
    ))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(component: &str) -> bool {
    let is_word = |byte: &u8| is_lower_alphanumeric(*byte);
    let ends_fit =
        |bytes: &[u8]| bytes.first().is_some_and(is_word) && bytes.last().is_some_and(is_word);
    let separators = component.split(|c: char| c.is_ascii() && is_lower_alphanumeric(c as u8));
    let mut between = separators.filter(|it| !it.is_empty());
    ends_fit(component.as_bytes())
        && between.all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|b| b == b'-'))
}

/// Whether `text` is `length` lower-case hex digits.
pub(crate) fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A text that is neither empty, nor long, nor holds blanks or control
/// characters: a repository pattern, or a worker's id.
pub(crate) fn check_text(field: &str, text: &str) -> Result<()> {
    let reason = if text.is_empty() {
        "is empty"
    } else if text.len() > LONGEST_PATTERN {
        "is longer than 512 bytes"
    } else if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        "holds blanks or control characters"
    } else {
        return Ok(());
    };
    Err(Error::invalid(field, reason.to_owned()))
}

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// What to show of a text that came from outside.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(LONGEST_NAME).collect();
    start.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_no_dash_but_a_type_may() {
        assert!(check_user("name", "qnib").is_ok());
        assert!(check_user("name", "qnib-lab").is_err());
        assert!(check_type("name", "gpu-node.2").is_ok());
    }

    #[test]
    fn names_that_would_confuse_a_key_or_a_login_are_refused() {
        for name in ["", "A", "a/b", "a+b", "a..b", "-a", "a-", "ä", "a b"] {
            assert!(check_type("name", name).is_err(), "{name:?}");
        }
        assert!(check_type("name", &"a".repeat(65)).is_err());
    }

    #[test]
    fn an_upstream_can_be_told_from_a_repository() {
        for name in [
            "docker.io",
            "localhost",
            "registry:5000",
            "127.0.0.1:5000",
            "[::1]",
            "[2001:db8::1]:5000",
        ] {
            assert!(check_upstream("name", name).is_ok(), "{name}");
        }
        for name in [
            "qnib",
            "Docker.io",
            "a.b/c",
            "a.b:",
            "a.b:0",
            "-a.b",
            "",
            "[::1]:",
            "[::1]:0",
            "::1",
            "[0:0::1]",
            "[::1",
            "[a.b]:1",
        ] {
            assert!(check_upstream("name", name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_url_is_a_registrys_address_and_all_else_is_refused_with_what_to_write() {
        for (given, taken) in [
            ("https://ghcr.io/", "https://ghcr.io"),
            ("https://GHCR.io:443/v2/", "https://ghcr.io"),
            ("http://[::1]:5000/v2", "http://[::1]:5000"),
            (
                "https://a.test/api/docker/x/v2/",
                "https://a.test/api/docker/x",
            ),
            ("https://a.test/api/docker/", "https://a.test/api/docker"),
        ] {
            assert_eq!(upstream_url("url", given).unwrap(), taken);
        }
        for (given, reason) in [
            ("ghcr.io", "write `https://ghcr.io`"),
            ("localhost:5000", "write `https://localhost:5000`"),
            ("ftp://ghcr.io", "neither http nor https"),
            ("https://a:b@ghcr.io", "username and password"),
            ("https://ghcr.io/?x=y", "a query"),
        ] {
            let refused = upstream_url("url", given).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_without_a_password() {
        for (given, taken) in [
            ("http://p.test:3128/", "http://p.test:3128"),
            ("p.test:3128", "http://p.test:3128"),
            ("https://robot@p.test", "https://robot@p.test"),
        ] {
            assert_eq!(proxy_url("proxy", given).unwrap(), taken);
        }
        for given in [
            "http://a:b@p.test",
            "socks5://p.test",
            "http://p.test/x",
            "",
            "http://",
        ] {
            assert!(proxy_url("proxy", given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_token_server_is_a_host_with_an_optional_port() {
        for (given, taken) in [
            ("Auth.Test", "auth.test"),
            ("auth.test:443", "auth.test:443"),
            ("[::1]:5001", "[::1]:5001"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(token_host("token_hosts", given).unwrap(), taken);
        }
        for given in [
            "",
            "https://a.test",
            "a.test/token",
            "u@a.test",
            "a.test:0",
            "a.test:",
            "a b",
        ] {
            assert!(token_host("token_hosts", given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_digest_is_written_in_one_way() {
        let digest = format!("sha256:{}", "0a".repeat(32));

        assert!(check_digest("digest", &digest).is_ok());
        assert!(check_digest("digest", &digest.to_uppercase()).is_err());
        assert!(check_digest("digest", &digest.replace("256", "512")).is_err());
        assert!(check_digest("digest", "sha256:00").is_err());
    }

    #[test]
    fn a_repository_follows_the_grammar_of_the_distribution_spec() {
        for name in ["library/nginx", "a", "a--b/c__d/e.f/manifests", "0_1"] {
            assert!(check_repository("repository", name).is_ok(), "{name}");
        }
        for name in [
            "", "/a", "a/", "a//b", "A", "a..b", "a___b", "-a", "a_", "a._b", "\u{e4}",
        ] {
            assert!(check_repository("repository", name).is_err(), "{name}");
        }
    }
}
