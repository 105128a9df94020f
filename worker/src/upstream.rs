//! Everything between the worker and the registries that it pulls from.
//!
//! Start at [`Puller`]: it fetches, checks, caches and streams. It knows
//! nothing of users and machine types: whoever asks has been authorised for
//! the upstream and the repository **before** asking, since an answer may come
//! from a cache or from another client's flight.
//!
//! Credentials of an upstream go to that upstream's own origin and to its
//! token server, and nowhere else.

mod access;
mod blob;
mod budget;
mod challenge;
mod circuit_breaker;
mod clock;
mod dialer;
mod error;
mod exchange;
mod failover;
mod hash;
mod head_support;
mod header_text;
mod limits;
mod listing;
mod manifest;
mod manifests;
mod metrics;
mod patience;
mod proxy;
mod puller;
mod reach;
mod reason;
mod roster;
mod settings;
mod shelf;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod trust;
mod warnings;
mod weather;
mod wire;

use std::{borrow::Cow, fmt, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use self::{
    dialer::Transport,
    reach::Reach,
    trust::{is_same_origin, is_trusted_realm},
};
use crate::reference::Repository;

pub(crate) use self::blob::{BlobBody, BlobDirectory, BlobError, BlobRequest};
pub(crate) use self::dialer::Judgement;
pub(crate) use self::error::{Error, Limit, ManifestFault, Place, Why};
pub(crate) use self::hash::sha256;
pub(crate) use self::listing::{Listed, ReferrersPage, TagsPage};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::proxy::{Proxy, ProxyChoice, ProxyEnvironment};
pub(crate) use self::puller::{BuildError, Puller};
pub(crate) use self::roster::Roster;
pub(crate) use self::settings::Settings;
pub(crate) use self::source::{Source, Stale};
pub(crate) use self::tls::ClientIdentity;
pub(crate) use self::warnings::warning;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{
    blob::range::{ContentRange, Span},
    challenge::{Offers, Scope},
    listing::query::{next_query, safe_query},
    manifest::check,
};

/// A configured registry that MetaHub pulls from.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// The name that clients use, for example `ghcr.io`.
    pub(crate) name: Box<str>,
    /// Where it is, for example `https://ghcr.io`. A path is kept in front of
    /// `/v2/`.
    pub(crate) url: Url,
    /// Whether names without a host go to it.
    pub(crate) is_default: bool,
    /// Its other names: hosts by which workers are reached.
    pub(crate) hosts: Box<[Box<str>]>,
    credential: Option<Credential>,
    is_restricted: bool,
    judgement: Judgement,
    hands_over_blobs: bool,
    speaks_http1: bool,
    proxy: ProxyChoice,
    /// What the worker presents to it.
    identity: Option<ClientIdentity>,
    /// The prefix of each repository's name at the registry.
    repository_prefix: Option<Box<str>>,
    /// Hosts with an optional port whose token servers may see the credential.
    token_hosts: Box<[Box<str>]>,
    /// The same registry at its further addresses.
    fallbacks: Box<[Arc<Upstream>]>,
    site: Site,
}

/// An account at an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// Its name.
    pub(crate) username: Box<str>,
    /// Its password or token.
    pub(crate) password: SecretString,
}

/// The name that docker gives to an identity token.
const IDENTITY_TOKEN: &str = "<token>";

impl Credential {
    /// Whether the password is an identity token: what a token server has given
    /// out once, to be redeemed there for tokens again and again.
    fn is_identity_token(&self) -> bool {
        &*self.username == IDENTITY_TOKEN
    }
}

/// An upstream as seen with one credential and one way to judge certificates:
/// what caches are keyed by, so that a changed address or credential makes
/// everything cold at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site(u128);

/// A repository of an upstream, told from the others by the upstream's name and
/// address and its own name, whatever the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(u128);

impl Upstream {
    /// An upstream called `name` at `url`, pulled from with `credential`, or
    /// anonymously.
    pub(crate) fn new(
        name: &str,
        url: Url,
        credential: Option<Credential>,
        is_default: bool,
    ) -> Self {
        let url = canonical(url);
        Self {
            name: name.into(),
            site: Site::of(name, &url, credential.as_ref()),
            url,
            is_default,
            hosts: Box::default(),
            is_restricted: credential.is_some(),
            judgement: Judgement::System,
            hands_over_blobs: false,
            speaks_http1: false,
            proxy: ProxyChoice::Environment,
            identity: None,
            repository_prefix: None,
            token_hosts: Box::default(),
            fallbacks: Box::default(),
            credential,
        }
    }

    /// The same, reached like this.
    pub(crate) fn proxied(mut self, proxy: ProxyChoice) -> Self {
        self.proxy = proxy;
        self
    }

    /// The same, shown who the worker is.
    pub(crate) fn presenting(mut self, identity: Option<ClientIdentity>) -> Self {
        if let Some(identity) = &identity {
            self.site = self.site.with(&[&identity.cert_pem, &identity.key_pem]);
        }
        self.identity = identity;
        self
    }

    /// The same, with this in front of each repository's name there.
    pub(crate) fn prefixed(mut self, prefix: Option<String>) -> Self {
        if let Some(prefix) = &prefix {
            self.site = self.site.with(&["prefix", prefix]);
        }
        self.repository_prefix = prefix.map(Into::into);
        self
    }

    /// The same, its credential shown to token servers at these hosts, too.
    pub(crate) fn with_token_hosts(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        self.token_hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// The same, with further addresses. All else must have been said before.
    pub(crate) fn falling_back_to(mut self, urls: impl IntoIterator<Item = Url>) -> Self {
        let at = |url: Url| {
            let url = canonical(url);
            Arc::new(Self {
                site: self.site.with(&[url.as_str()]),
                url,
                ..self.clone()
            })
        };
        self.fallbacks = urls.into_iter().map(at).collect();
        self
    }

    /// The same registry at its further addresses, in the order to try them.
    fn fallbacks(&self) -> &[Arc<Upstream>] {
        &self.fallbacks
    }

    /// The registry at `url`, to which this one has led. It gets the credential
    /// of this one only if it is this one, at the same host, over https.
    fn led_to(&self, url: &Url) -> Self {
        let is_itself = url.scheme() == "https" && url.host() == self.url.host();
        let mut origin = url.clone();
        origin.set_path("");
        origin.set_query(None);
        Self {
            site: self.site.with(&[origin.as_str()]),
            credential: self.credential.clone().filter(|_| is_itself),
            identity: self.identity.clone().filter(|_| is_itself),
            token_hosts: match is_itself {
                true => self.token_hosts.clone(),
                false => Box::default(),
            },
            judgement: self.judgement(url),
            fallbacks: Box::default(),
            url: origin,
            ..self.clone()
        }
    }

    /// What `repository` is called there.
    fn name_of<'a>(&self, repository: &'a Repository) -> Cow<'a, Repository> {
        match &self.repository_prefix {
            Some(prefix) => Cow::Owned(repository.below(prefix)),
            None => Cow::Borrowed(repository),
        }
    }

    /// How connections to `url` are made, where this upstream has led to it.
    /// What the worker presents goes where the credential may go.
    fn transport(&self, url: &Url, environment: &ProxyEnvironment) -> Transport {
        let proxy = match &self.proxy {
            ProxyChoice::Environment => environment.proxy(url).cloned(),
            ProxyChoice::Direct => None,
            ProxyChoice::Through(proxy) => Some(proxy.clone()),
        };
        let may_know = self.is_token_host(url) || is_trusted_realm(&self.url, url);
        Transport {
            judgement: self.judgement(url),
            proxy,
            identity: self.identity.clone().filter(|_| may_know),
        }
    }

    /// The nearest address that a token server at `realm` may be at, for a
    /// registry that was seen at `seen`. None: it must not be asked. One that is
    /// neither the registry's own nor allowed gives out anonymous tokens only,
    /// from public addresses.
    fn realm_reach(&self, realm: &Url, seen: Reach) -> Option<Reach> {
        if is_same_origin(&self.url, realm) {
            Some(self.reach())
        } else if self.is_token_host(realm) {
            Some(reach_of_own(realm))
        } else if is_trusted_realm(&self.url, realm) {
            Some(seen)
        } else {
            let is_safe = trust::is_trusted_redirect(&self.url, realm);
            (is_safe && self.credential.is_none()).then_some(Reach::Public)
        }
    }

    /// Whether the admin has allowed a token server at `realm`: over https, or
    /// where the registry is asked in plain text, too.
    fn is_token_host(&self, realm: &Url) -> bool {
        let host = realm.host_str().unwrap_or_default();
        let port = realm.port_or_known_default().unwrap_or_default();
        let is_listed = self.token_hosts.iter().any(|it| match realm.port() {
            None if **it == *host => true,
            _ => **it == *format!("{host}:{port}"),
        });
        is_listed && trust::is_trusted_redirect(&self.url, realm)
    }

    /// The same, with other names: hosts by which workers are reached.
    pub(crate) fn reached_by(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        self.hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// The same, its certificates judged like this.
    pub(crate) fn judged(mut self, judgement: Judgement) -> Self {
        self.site = self.site.seen_by(&judgement);
        self.judgement = judgement;
        self
    }

    /// How the certificate of the host of `url` is judged, where this upstream
    /// has led to it. One that need not prove itself vouches for no other host.
    pub(crate) fn judgement(&self, url: &Url) -> Judgement {
        match &self.judgement {
            Judgement::None if url.host() != self.url.host() => Judgement::System,
            judgement => judgement.clone(),
        }
    }

    /// The same, its redirects of blobs handed over to clients or not.
    pub(crate) fn handing_over_blobs(mut self, hands_over: bool) -> Self {
        self.hands_over_blobs = hands_over;
        self
    }

    /// Whether its redirects of blobs are for clients to follow.
    pub(crate) fn hands_over_blobs(&self) -> bool {
        self.hands_over_blobs
    }

    /// The same, asked over HTTP/1.1 alone or not.
    pub(crate) fn speaking_http1(mut self, speaks_http1: bool) -> Self {
        self.speaks_http1 = speaks_http1;
        self
    }

    /// Whether HTTP/1.1 alone is spoken to it, and to where it leads.
    pub(crate) fn speaks_http1(&self) -> bool {
        self.speaks_http1
    }

    /// The same, open only to users with a grant if `restricted` says so. With
    /// a credential it is that in any case.
    pub(crate) fn restricted(mut self, restricted: bool) -> Self {
        self.is_restricted |= restricted;
        self
    }

    /// Whether it is open only to users with a grant.
    pub(crate) fn is_restricted(&self) -> bool {
        self.is_restricted
    }

    /// The nearest address that its own URL may lead to. One that the admin has
    /// spelled out may be anywhere; a name, whose owner may be another, leads
    /// neither to this host nor to this link.
    fn reach(&self) -> Reach {
        reach_of_own(&self.url)
    }

    /// The account to pull with. None: anonymous.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Its identity, for cache keys.
    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// The identity of one of its repositories, for names that others may read.
    pub(crate) fn origin(&self, repository: &Repository) -> Origin {
        let Site(open) = Site::of(&self.name, &self.url, None);
        let mut context = Context::new(&SHA256);
        context.update(&open.to_be_bytes());
        context.update(self.name_of(repository).as_str().as_bytes());
        let Site(origin) = Site::finish(context);
        Origin(origin)
    }
}

impl Site {
    fn of(name: &str, url: &Url, credential: Option<&Credential>) -> Self {
        let mut context = Context::new(&SHA256);
        let mut add = |part: &str| {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        };
        add(name);
        add(url.as_str());
        if let Some(credential) = credential {
            add(&credential.username);
            add(credential.password.expose_secret());
        }
        Self::finish(context)
    }

    /// The same upstream, its certificates judged in another way.
    fn seen_by(self, judgement: &Judgement) -> Self {
        match judgement {
            Judgement::System => self,
            Judgement::Authorities(pem) => self.with(&[pem]),
            Judgement::None => self.with(&[]),
        }
    }

    /// The same upstream, with something more that tells it apart.
    fn with(self, parts: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0.to_be_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let digest = context.finish();
        let half = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u128::from_be_bytes(half))
    }
}

impl Origin {
    /// The same in bytes.
    pub(crate) fn to_bytes(self) -> [u8; size_of::<u128>()] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Not the number: it is derived from a secret.
impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site(***)")
    }
}

/// The nearest address that a URL of the admin's may lead to.
fn reach_of_own(url: &Url) -> Reach {
    match url.host() {
        Some(Host::Domain(name)) if name != "localhost" => Reach::Private,
        _ => Reach::Link,
    }
}

/// Docker Hub's web sites do not serve the registry API under `/v2/`.
fn canonical(mut url: Url) -> Url {
    if matches!(url.host_str(), Some("docker.io" | "index.docker.io")) {
        // Cannot fail: the URL has a host already.
        let _ = url.set_host(Some("registry-1.docker.io"));
    }
    url
}
