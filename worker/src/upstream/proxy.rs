//! The HTTP proxies that requests to upstreams go through.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` mean what they mean to docker and
//! containerd: the rules are those of Go's `golang.org/x/net/http/httpproxy`.
//! This host itself is never asked for through one of these.
//!
//! A proxy resolves names itself: what a name leads to cannot be checked.

use std::{env, fmt, net::IpAddr};

use ipnet::IpNet;
use tracing::{info, warn};
use url::{Host, Url};

use super::reach::Reach;

/// A proxy: its address, with the account for it. Not shown in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Proxy(Url);

/// How an upstream is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProxyChoice {
    /// As the environment says.
    #[default]
    Environment,
    /// Without a proxy.
    Direct,
    /// Through this one, whatever the environment says.
    Through(Proxy),
}

/// What the environment says. By default: no proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyEnvironment {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
enum Exception {
    All,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// The domain with a dot in front, and whether its own name is meant, too.
    Domain(String, bool, Option<u16>),
}

impl Proxy {
    /// Takes a URL of http or https, or a host with an optional port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("http://{text}")),
        };
        let url = url.ok().filter(Url::has_host)?;
        matches!(url.scheme(), "http" | "https").then_some(Self(url))
    }

    /// The same with the password of its user.
    pub(crate) fn with_password(mut self, password: &str) -> Option<Self> {
        self.0.set_password(Some(password)).ok()?;
        Some(self)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl ProxyEnvironment {
    /// Reads the variables, in upper case or else in lower case. A proxy that is
    /// not understood is logged, and not used.
    #[expect(
        clippy::disallowed_methods,
        reason = "these variables belong to all programs of a host, with spellings of their own"
    )]
    pub(crate) fn read() -> Self {
        let found = Self::of(|name| env::var(name).ok());
        if found.https.is_some() || found.http.is_some() {
            let (https, http) = (&found.https, &found.http);
            info!(
                ?https,
                ?http,
                "upstreams are asked through the proxies of the environment"
            );
        }
        found
    }

    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            let found = variable(name).filter(|text| !text.is_empty());
            found.or_else(|| variable(&name.to_ascii_lowercase()))
        };
        let proxy = |name: &str| {
            let text = value(name).filter(|text| !text.is_empty())?;
            let proxy = Proxy::parse(&text);
            if proxy.is_none() {
                warn!("{name} is not the URL of an http or https proxy; it is not used");
            }
            proxy
        };
        let exceptions = value("NO_PROXY").unwrap_or_default();
        Self {
            https: proxy("HTTPS_PROXY"),
            http: proxy("HTTP_PROXY"),
            exceptions: exceptions.split(',').filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy for `url`. None: it is asked for directly.
    pub(crate) fn proxy(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        proxy.filter(|_| !self.is_excepted(url))
    }

    fn is_excepted(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let (name, address) = match url.host() {
            Some(Host::Domain(name)) => (name, name.parse().ok()),
            Some(Host::Ipv4(v4)) => ("", Some(IpAddr::V4(v4))),
            Some(Host::Ipv6(v6)) => ("", Some(IpAddr::V6(v6))),
            None => return true,
        };
        let is_here = address.is_some_and(|it| Reach::of(it) == Reach::Loopback);
        is_here
            || name == "localhost"
            || self
                .exceptions
                .iter()
                .any(|it| it.covers(name, address, port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = entry.parse() {
            return Some(Self::Network(network));
        }
        let unbracketed = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>();
        if let Ok(address) = unbracketed(&entry) {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (&*entry, None),
        };
        if let Ok(address) = unbracketed(host) {
            return Some(Self::Address(address, port));
        }
        let domain = host.strip_prefix('*').unwrap_or(host);
        Some(match domain.starts_with('.') {
            true => Self::Domain(domain.to_owned(), false, port),
            false => Self::Domain(format!(".{domain}"), true, port),
        })
    }

    fn covers(&self, name: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|it| network.contains(&it)),
            Self::Address(own, own_port) => {
                address == Some(*own) && (own_port.is_none() || *own_port == port)
            }
            Self::Domain(domain, with_itself, own_port) => {
                let is_itself = *with_itself && name == &domain[1..];
                (is_itself || name.ends_with(&**domain))
                    && (own_port.is_none() || *own_port == port)
            }
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> ProxyEnvironment {
        ProxyEnvironment::of(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(environment: &ProxyEnvironment, url: &str) -> Option<String> {
        let proxy = environment.proxy(&url.parse().unwrap());
        proxy.map(|proxy| proxy.url().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_upper_case_wins() {
        let environment = environment(&[
            ("HTTPS_PROXY", "secure.test:3128"),
            ("https_proxy", "http://other.test"),
            ("http_proxy", "http://robot:pw@plain.test:8080"),
        ]);

        let proxy = |url| proxy_of(&environment, url);

        assert_eq!(proxy("https://r.test").unwrap(), "http://secure.test:3128/");
        assert_eq!(
            proxy("http://r.test").unwrap(),
            "http://robot:pw@plain.test:8080/"
        );
    }

    #[test]
    fn no_proxy_means_what_it_means_to_go() {
        let environment = environment(&[
            ("HTTP_PROXY", "http://proxy.test"),
            (
                "NO_PROXY",
                "a.test, .b.test,*.c.test,D.test:8080,10.0.0.0/8,192.0.2.1,192.0.2.2:81,[2001:db8::1]:82,2001:db8::2",
            ),
        ]);

        for (host, is_direct) in [
            ("a.test", true),
            ("x.a.test", true),
            ("xa.test", false),
            ("b.test", false),
            ("x.b.test", true),
            ("c.test", false),
            ("x.c.test", true),
            ("d.test", false),
            ("d.test:8080", true),
            ("10.1.2.3:5000", true),
            ("192.0.2.1:5000", true),
            ("192.0.2.2", false),
            ("192.0.2.2:81", true),
            ("[2001:db8::1]:82", true),
            ("[2001:db8::1]", false),
            ("[2001:db8::2]:5000", true),
            ("localhost:5000", true),
            ("127.0.0.9", true),
            ("[::1]", true),
            ("registry.test", false),
        ] {
            let proxy = proxy_of(&environment, &format!("http://{host}/v2/"));
            assert_eq!(proxy.is_none(), is_direct, "{host}");
        }
    }

    #[test]
    fn an_asterisk_excepts_all_and_what_is_no_proxy_is_not_used() {
        let all = environment(&[("HTTPS_PROXY", "http://p.test"), ("no_proxy", "*")]);
        let wrong = environment(&[("HTTPS_PROXY", "socks5://p.test")]);

        assert_eq!(proxy_of(&all, "https://r.test"), None);
        assert_eq!(proxy_of(&wrong, "https://r.test"), None);
    }

    #[test]
    fn a_proxys_password_does_not_show() {
        let proxy = Proxy::parse("http://robot@p.test:3128").unwrap();
        let proxy = proxy.with_password("hunter2:@/").unwrap();

        assert_eq!(format!("{proxy:?}"), "http://p.test:3128");
        assert_eq!(proxy.url().password(), Some("hunter2%3A%40%2F"));
    }
}
