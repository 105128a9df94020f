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
mod clock;
mod dialer;
mod error;
mod exchange;
mod hash;
mod limits;
mod listing;
mod manifest;
mod manifests;
mod metrics;
mod patience;
mod puller;
mod reach;
mod roster;
mod settings;
mod shelf;
mod source;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod trust;
mod weather;
mod wire;

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use self::reach::Reach;

pub(crate) use self::blob::{BlobBody, BlobDirectory, BlobError, BlobRequest};
pub(crate) use self::dialer::Judgement;
pub(crate) use self::error::{Error, Limit, ManifestFault, Why};
pub(crate) use self::hash::sha256;
pub(crate) use self::listing::{ReferrersPage, TagsPage};
pub(crate) use self::metrics::Metrics;
pub(crate) use self::puller::{BuildError, Puller};
pub(crate) use self::roster::Roster;
pub(crate) use self::settings::Settings;
pub(crate) use self::source::{Source, Stale};
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

/// An upstream as anyone may tell it from the others: by its name and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin(u64);

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
            credential,
        }
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
        match self.url.host() {
            Some(Host::Domain(name)) if name != "localhost" => Reach::Private,
            _ => Reach::Link,
        }
    }

    /// The account to pull with. None: anonymous.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Its identity, for cache keys.
    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// Its identity, for names that others may read.
    pub(crate) fn origin(&self) -> Origin {
        let Site(open) = Site::of(&self.name, &self.url, None);
        let [_, _, _, _, _, _, _, _, half @ ..] = open.to_be_bytes();
        Origin(u64::from_be_bytes(half))
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
        let mut context = Context::new(&SHA256);
        context.update(&self.0.to_be_bytes());
        match judgement {
            Judgement::System => return self,
            Judgement::Authorities(pem) => context.update(pem.as_bytes()),
            Judgement::None => {}
        }
        Self::finish(context)
    }

    fn finish(context: Context) -> Self {
        let digest = context.finish();
        let half = digest.as_ref().first_chunk().copied().unwrap_or_default();
        Self(u128::from_be_bytes(half))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Not the number: it is derived from a secret.
impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site(***)")
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
