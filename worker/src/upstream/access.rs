//! Which `Authorization` a request to an upstream carries.
//!
//! How an upstream wants to be asked is learned from its challenges and
//! remembered, so that only the first request to it is refused.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret;

use super::{
    Credential, Error, Site, Upstream, Why,
    challenge::{Bearer, Offers, Scope},
    metrics::Kind,
    reach::Reach,
    tokens::{Errand, Tokens},
    weather::unavailable,
    wire::{Call, Wire, distrust, untrusted},
};
use crate::{
    cache::{Cache, Flights},
    reference::Repository,
};

/// What all that was learned may weigh, in bytes.
const CAPACITY: u64 = 4 << 20;
/// What was learned from `/v2/` may weigh, in bytes.
const BASE_CAPACITY: u64 = 1 << 20;

/// How upstreams want to be asked.
#[derive(Debug)]
pub(crate) struct Access {
    /// By repository, and by upstream alone where a repository needs nothing
    /// special.
    learned: Cache<(Site, Option<Repository>), Arc<Scheme>>,
    /// How `/v2/` wants to be asked.
    base_schemes: Cache<Site, Arc<Scheme>>,
    base_requests: Flights<Site, Result<Arc<Scheme>, Error>>,
    tokens: Arc<Tokens>,
    wire: Arc<Wire>,
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
            base_schemes: Cache::new(BASE_CAPACITY, |_, _| 512),
            base_requests: Flights::new(),
            tokens: Arc::new(Tokens::new(Arc::clone(&wire))),
            wire,
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

    /// The pass to try after a refusal. None: there is nothing left to try.
    pub(crate) async fn next_pass(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        refusal: Refusal<'_>,
    ) -> Result<Option<Pass>, Error> {
        let offers = Offers::read(refusal.headers, repository).at(&upstream.url);
        match offers.bearer {
            Some(mut bearer) if upstream.realm_reach(&bearer.realm, refusal.reach).is_some() => {
                // Docker Hub gives plugins only to a token of that class.
                let wants_more = offers.insufficient_scope && bearer.scope == Scope::Pull;
                if wants_more && refusal.is_beyond_pull(repository) {
                    bearer.scope = Scope::Plugin;
                }
                let errand = errand(upstream, repository, &bearer, refusal.reach);
                let pass = self.renewed(upstream, errand, refusal.pass).await?;
                if pass.is_some() {
                    self.learn(upstream, repository, Scheme::Bearer(bearer, refusal.reach));
                }
                Ok(pass)
            }
            _ if offers.basic && !refusal.was_basic() => {
                let pass = upstream.credential().and_then(Pass::basic);
                if pass.is_some() {
                    self.learn(upstream, repository, Scheme::Basic);
                }
                Ok(pass)
            }
            Some(bearer) => {
                let why = distrust(&upstream.url, &bearer.realm);
                Err(untrusted(upstream, &bearer.realm, why))
            }
            None => match refusal.pass {
                None => self.unasked(upstream, repository).await,
                // Some answer 403, with no challenge, to a token that is no longer
                // good.
                Some(pass) => match pass.errand.clone() {
                    Some(errand) => self.renewed(upstream, errand, Some(pass)).await,
                    None => Ok(None),
                },
            },
        }
    }

    /// The pass for an upstream that answers a request without one as if there
    /// were nothing, and does not ask for it: as `/v2/` asks for it, or else the
    /// credential itself.
    async fn unasked(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
    ) -> Result<Option<Pass>, Error> {
        let Some(credential) = upstream.credential() else {
            return Ok(None);
        };
        let scheme = self.base_scheme(upstream).await?;
        let pass = match &*scheme {
            Scheme::Basic => Pass::basic(credential),
            Scheme::Bearer(bearer, reach) => {
                let errand = errand(upstream, repository, bearer, *reach);
                Some(self.token(upstream, errand).await?)
            }
        };
        // For this repository only: others may be open to everyone.
        let key = (upstream.site(), Some(repository.clone()));
        self.learned.insert(key, scheme);
        Ok(pass)
    }

    /// How `/v2/` wants to be asked. Requested once for each upstream.
    async fn base_scheme(&self, upstream: &Arc<Upstream>) -> Result<Arc<Scheme>, Error> {
        let site = upstream.site();
        if let Some(scheme) = self.base_schemes.get(&site) {
            return Ok(scheme);
        }
        let (wire, its_upstream) = (Arc::clone(&self.wire), Arc::clone(upstream));
        let request = || async move { request_base_scheme(&wire, &its_upstream).await };
        let ticket = self.base_requests.board(site, request);
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        let scheme = ticket.landed().await.unwrap_or_else(crashed)?;
        self.base_schemes.insert(site, Arc::clone(&scheme));
        Ok(scheme)
    }

    /// A token for `errand` that is not the refused one. None: the refused one
    /// was new.
    async fn renewed(
        &self,
        upstream: &Arc<Upstream>,
        errand: Errand,
        refused: Option<Pass>,
    ) -> Result<Option<Pass>, Error> {
        if let Some(pass) = refused.filter(|pass| pass.errand.as_ref() == Some(&errand)) {
            if pass.is_fresh {
                return Ok(None);
            }
            self.tokens.forget(&errand, &pass.header);
        }
        self.token(upstream, errand).await.map(Some)
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
        let is_general = match &*scheme {
            Scheme::Basic => true,
            Scheme::Bearer(bearer, _) => bearer.scope == Scope::Pull,
        };
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

    /// Whether a new token to pull from `repository` was refused, or one of a
    /// plugin.
    fn is_beyond_pull(&self, repository: &Repository) -> bool {
        let refused = self.pass.as_ref();
        refused.is_some_and(|pass| {
            let scope = pass.errand.as_ref().map(|errand| errand.scope.as_str());
            let is = |it: Scope| scope == Some(&*it.for_repository(repository));
            is(Scope::Plugin) || pass.is_fresh && is(Scope::Pull)
        })
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

/// How `/v2/` asks for a pass. An upstream that gives no challenge there, either,
/// is shown the credential itself.
async fn request_base_scheme(wire: &Wire, upstream: &Upstream) -> Result<Arc<Scheme>, Error> {
    let mut url = upstream.url.clone();
    let path = format!("{}/v2/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let call = Call {
        upstream,
        kind: Kind::Token,
        method: Method::GET,
        form: None,
        url,
        headers: HeaderMap::new(),
        pass: None,
        reach: upstream.reach(),
        hand_over: None,
    };
    let reply = wire.send(call).await?;
    let (status, headers) = (reply.response.status(), reply.response.headers());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(unavailable(upstream, Why::Status(status), Some(headers)));
    }
    let offers = match reply.is_at_home {
        true => Offers::of_base(headers).at(&upstream.url),
        false => Offers::default(),
    };
    match offers.bearer {
        Some(bearer) if upstream.realm_reach(&bearer.realm, reply.reach).is_some() => {
            Ok(Arc::new(Scheme::Bearer(bearer, reply.reach)))
        }
        Some(bearer) if !offers.basic => {
            let why = distrust(&upstream.url, &bearer.realm);
            Err(untrusted(upstream, &bearer.realm, why))
        }
        _ => Ok(Arc::new(Scheme::Basic)),
    }
}
