//! Which `Authorization` a request to an upstream carries.
//!
//! How an upstream wants to be asked is learned from its challenges and
//! remembered, so that only the first request to it is refused.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret;

use super::{
    Credential, Error, Site, Upstream,
    challenge::{Bearer, Offers, Scope},
    reach::Reach,
    tokens::{Errand, Tokens},
    wire::{Wire, distrust, untrusted},
};
use crate::{cache::Cache, reference::Repository};

/// What all that was learned may weigh, in bytes.
const CAPACITY: u64 = 4 << 20;

/// How upstreams want to be asked.
#[derive(Debug)]
pub(crate) struct Access {
    /// By repository, and by upstream alone where a repository needs nothing
    /// special.
    learned: Cache<(Site, Option<Repository>), Arc<Scheme>>,
    tokens: Arc<Tokens>,
}

/// How one upstream wants to be asked.
#[derive(Debug)]
enum Scheme {
    Basic,
    Bearer(Bearer, Reach),
}

/// What a request is let in with.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The `Authorization`.
    pub(crate) header: HeaderValue,
    /// The token's errand; None for Basic.
    errand: Option<Errand>,
    /// Whether it has been made for this request, so that a refusal is final.
    is_fresh: bool,
}

/// A refusal, and what is known about it.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// The refused answer's headers.
    pub(crate) headers: &'a HeaderMap,
    /// Where it came from.
    pub(crate) reach: Reach,
    /// The pass that was refused.
    pub(crate) pass: Option<Pass>,
}

impl Access {
    pub(crate) fn new(wire: Arc<Wire>) -> Self {
        Self {
            learned: Cache::new(CAPACITY, |_, _| 512),
            tokens: Arc::new(Tokens::new(wire)),
        }
    }

    /// The pass that, from what is known, `upstream` will want to see.
    pub(crate) async fn pass(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
    ) -> Result<Option<Pass>, Error> {
        let key = (upstream.site(), Some(repository.clone()));
        let learned = self
            .learned
            .get(&key)
            .or_else(|| self.learned.get(&(upstream.site(), None)));
        match learned.as_deref() {
            None => Ok(None),
            Some(Scheme::Basic) => Ok(upstream.credential().and_then(Pass::basic)),
            Some(Scheme::Bearer(bearer, reach)) => {
                let errand = errand(upstream, repository, bearer, *reach);
                self.token(upstream, errand).await.map(Some)
            }
        }
    }

    /// The pass to try after a refusal; `Denied` when there is nothing left to
    /// try.
    pub(crate) async fn next_pass(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        refusal: Refusal<'_>,
    ) -> Result<Pass, Error> {
        let offers = Offers::read(refusal.headers, repository).at(&upstream.url);
        match offers.bearer {
            Some(bearer) if upstream.realm_reach(&bearer.realm, refusal.reach).is_some() => {
                let errand = errand(upstream, repository, &bearer, refusal.reach);
                let pass = self.renewed(upstream, errand, refusal.pass).await?;
                self.learn(upstream, repository, Scheme::Bearer(bearer, refusal.reach));
                Ok(pass)
            }
            _ if offers.basic && !refusal.was_basic() => {
                let pass = upstream.credential().and_then(Pass::basic);
                let pass = pass.ok_or_else(|| denied(upstream))?;
                self.learn(upstream, repository, Scheme::Basic);
                Ok(pass)
            }
            Some(bearer) => {
                let why = distrust(&upstream.url, &bearer.realm);
                Err(untrusted(upstream, &bearer.realm, why))
            }
            // Some answer 403, with no challenge, to a token that is no longer
            // good.
            None => match refusal.pass.as_ref().and_then(|p| p.errand.clone()) {
                Some(errand) => self.renewed(upstream, errand, refusal.pass).await,
                None => Err(denied(upstream)),
            },
        }
    }

    /// A token for `errand` that is not the refused one.
    async fn renewed(
        &self,
        upstream: &Arc<Upstream>,
        errand: Errand,
        refused: Option<Pass>,
    ) -> Result<Pass, Error> {
        if let Some(pass) = refused.filter(|pass| pass.errand.as_ref() == Some(&errand)) {
            if pass.is_fresh {
                return Err(denied(upstream));
            }
            self.tokens.forget(&errand, &pass.header);
        }
        self.token(upstream, errand).await
    }

    /// A token that is kept, or else a new one.
    async fn token(&self, upstream: &Arc<Upstream>, errand: Errand) -> Result<Pass, Error> {
        if let Some(token) = self.tokens.kept(upstream, &errand) {
            return Ok(Pass::token(token.header.clone(), errand, false));
        }
        let token = self.tokens.fetch(upstream, &errand).await?;
        Ok(Pass::token(token.header.clone(), errand, true))
    }

    fn learn(&self, upstream: &Upstream, repository: &Repository, scheme: Scheme) {
        let scheme = Arc::new(scheme);
        let is_general = !matches!(
            &*scheme,
            Scheme::Bearer(
                Bearer {
                    scope: Scope::Spelled(_),
                    ..
                },
                _
            )
        );
        if is_general {
            self.learned
                .insert((upstream.site(), None), Arc::clone(&scheme));
        }
        let key = (upstream.site(), Some(repository.clone()));
        self.learned.insert(key, scheme);
    }
}

impl Pass {
    fn basic(credential: &Credential) -> Option<Self> {
        Some(Self {
            header: basic(credential)?,
            errand: None,
            is_fresh: true,
        })
    }

    fn token(header: HeaderValue, errand: Errand, is_fresh: bool) -> Self {
        Self {
            header,
            errand: Some(errand),
            is_fresh,
        }
    }
}

impl Refusal<'_> {
    fn was_basic(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.errand.is_none())
    }
}

/// `Basic …` for an account (RFC 7617), marked as sensitive. None for an
/// identity token, which is for the token server's form only.
pub(crate) fn basic(credential: &Credential) -> Option<HeaderValue> {
    if credential.is_identity_token() {
        return None;
    }
    let Credential { username, password } = credential;
    let pair = format!("{username}:{}", password.expose_secret());
    let header = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut header = HeaderValue::try_from(header).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn errand(upstream: &Upstream, repository: &Repository, bearer: &Bearer, reach: Reach) -> Errand {
    Errand {
        site: upstream.site(),
        realm: bearer.realm.clone(),
        service: bearer.service.clone(),
        scope: bearer.scope.for_repository(repository),
        reach,
    }
}

fn denied(upstream: &Upstream) -> Error {
    Error::Denied {
        upstream: upstream.name.clone(),
    }
}
