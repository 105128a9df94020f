//! Headers in which proxies describe the request that they received:
//! `X-Forwarded-*` and its relatives, and `Forwarded` (RFC 7239).
//!
//! All of them are lists: each proxy adds its value on the right, in the same
//! line or in a line of its own.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header::FORWARDED};

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// Headers that say a scheme, and headers that say whether TLS is on. ingress-nginx
/// sends the first two, Apache and HAProxy set-ups the last two.
const SCHEMES: [HeaderName; 6] = [
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-url-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("front-end-https"),
];
/// The values of those that mean plain text. Traefik says `ws` for WebSockets.
const PLAIN: [&str; 3] = ["http", "ws", "off"];
/// Stands for a value that is no text.
const UNREADABLE: &str = "?";

/// The values of a list, in the order in which proxies added them. Empty ones
/// are left out.
pub(super) fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter();
    let lines = lines.map(|line| line.to_str().unwrap_or(UNREADABLE));
    let values = lines.flat_map(|line| line.split(','));
    values.map(str::trim).filter(|value| !value.is_empty())
}

/// True if the client used TLS. The first value of each header counts. The
/// answer is `false` only if all values mean plain text: an unknown value must
/// not make a client send its password in plain text. `None`: there is no such
/// header.
pub(super) fn is_secure(headers: &HeaderMap, elements: Option<&[Element]>) -> Option<bool> {
    let first = |name| match headers.contains_key(&name) {
        true => Some(values(headers, &name).next().unwrap_or(UNREADABLE)),
        false => None,
    };
    let proto = match elements {
        Some(elements) => elements.iter().find_map(|it| it.proto.as_deref()),
        None => Some(UNREADABLE),
    };
    let said = SCHEMES.into_iter().filter_map(first).chain(proto);
    let is_plain = |said: &str| PLAIN.iter().any(|plain| said.eq_ignore_ascii_case(plain));
    said.map(|said| !is_plain(said))
        .reduce(|one, other| one | other)
}

/// What one proxy says in `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// The proxy's own client, as [`address`] reads it.
    pub(super) client: Option<String>,
    pub(super) host: Option<String>,
    proto: Option<String>,
}

/// The elements of all `Forwarded` lines. `None`: they do not follow the grammar,
/// and a quote that a client left open may hide what a proxy added.
pub(super) fn elements(headers: &HeaderMap) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for line in headers.get_all(FORWARDED) {
        for text in split(line.to_str().ok()?, b',')? {
            if !text.is_empty() {
                elements.push(element(text)?);
            }
        }
    }
    Some(elements)
}

fn element(text: &str) -> Option<Element> {
    let mut element = Element::default();
    for pair in split(text, b';')?.into_iter().filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = unquote(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => element.client = Some(value),
            "host" => element.host = Some(value),
            "proto" => element.proto = Some(value),
            _ => {}
        }
    }
    Some(element)
}

/// The trimmed parts of `text` between separators that are not in quotes. `None`:
/// a quote is left open.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if byte == separator && !is_quoted => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    (!is_quoted).then_some(parts)
}

/// A value without the quotes around it and the backslashes in it.
fn unquote(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut chars = inner.chars();
    let next = || match chars.next() {
        Some('\\') => chars.next(),
        next => next,
    };
    std::iter::from_fn(next).collect()
}

/// The address of a hop, which may come with the client's port, as Azure's and
/// AWS's balancers send it. `None`: it is `unknown`, or another name.
pub(super) fn address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|it| it.ip());
    let bare = hop.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse().ok().or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client, host and protocol.
    type Shown = (Option<String>, Option<String>, Option<String>);

    fn forwarded(lines: &[&str]) -> Option<Vec<Shown>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, line.parse().unwrap());
        }
        let elements = elements(&headers)?.into_iter();
        let shown = elements.map(|it| (it.client, it.host, it.proto));
        Some(shown.collect())
    }

    fn all(client: &str, host: &str, proto: &str) -> Shown {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (text(client), text(host), text(proto))
    }

    #[test]
    fn elements_are_read_with_quotes_ports_and_in_several_lines() {
        let router =
            r#"for=192.0.2.7;host=hub.example;proto=https;proto-version="h2", for=10.0.0.2"#;
        let second = r#"For="[2001:db8::1]:4711" ; HOST="a\.b:8443"; by="x;y,z""#;

        assert_eq!(
            forwarded(&[router, second]).unwrap(),
            [
                all("192.0.2.7", "hub.example", "https"),
                all("10.0.0.2", "", ""),
                all("[2001:db8::1]:4711", "a.b:8443", ""),
            ]
        );
        assert_eq!(forwarded(&[]).unwrap(), []);
        assert_eq!(
            forwarded(&["for=unknown, for=_hidden, proto=http"]).unwrap(),
            [
                all("unknown", "", ""),
                all("_hidden", "", ""),
                all("", "", "http")
            ]
        );
    }

    #[test]
    fn an_open_quote_hides_nothing() {
        for line in [r#"for="1.1.1.1, for=192.0.2.7"#, "https", r#"for="\""#] {
            assert_eq!(forwarded(&[line]), None, "{line}");
        }
    }

    #[test]
    fn an_address_may_have_a_port() {
        for hop in [
            "192.0.2.7",
            "192.0.2.7:4711",
            "[::ffff:192.0.2.7]",
            "[::ffff:c000:207]:80",
        ] {
            assert_eq!(address(hop).unwrap().to_string(), "192.0.2.7", "{hop}");
        }
        for hop in ["", "unknown", "_x", "1.2.3", "host:80"] {
            assert_eq!(address(hop), None, "{hop}");
        }
    }
}
