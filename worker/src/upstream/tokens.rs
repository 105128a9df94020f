//! Tokens of token servers: fetched once for all who wait, kept until they
//! are nearly used up, and renewed before that while they still work.
//!
//! Source: docker registry token authentication, as registries practise it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{
    Credential, Error, Place, Site, Upstream, Why,
    access::basic,
    metrics::Kind,
    reach::Reach,
    weather::unavailable,
    wire::{Call, Reply, Wire, distrust, untrusted},
};
use crate::cache::{Cache, Flights, Ticket};

/// What all tokens may weigh, in bytes.
const CAPACITY: u64 = 16 << 20;
/// What is remembered of servers that take no forms may weigh, in bytes.
const FORMLESS_CAPACITY: u64 = 1 << 20;
/// What a token server is told that asks.
const CLIENT_ID: &str = "metahub";
/// The largest answer of a token server that is taken, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// How long a token works when its server does not say.
const USUAL_LIFE: Duration = Duration::from_secs(60);
/// How long a token is kept at most, whatever its server says.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// The tokens of all upstreams.
#[derive(Debug)]
pub(crate) struct Tokens {
    kept: Cache<Errand, Arc<Token>>,
    flights: Flights<Errand, Result<Arc<Token>, Error>>,
    /// Token servers that give out tokens, but not for a form.
    formless: Cache<(Site, Url), ()>,
    wire: Arc<Wire>,
}

/// Where to get a token, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Errand {
    /// With whose credential.
    pub(crate) site: Site,
    /// The token server.
    pub(crate) realm: Url,
    /// What it calls the registry.
    pub(crate) service: Option<Box<str>>,
    /// What the token is to allow, several scopes apart by spaces.
    pub(crate) scope: String,
    /// The nearest address that the realm may lead to.
    pub(crate) reach: Reach,
}

/// A token, as a header.
#[derive(Debug)]
pub(crate) struct Token {
    /// `Bearer …`, marked as sensitive.
    pub(crate) header: HeaderValue,
    /// When to get the next one, while this one still works.
    renew: Instant,
    /// When to stop using it.
    expires: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// In seconds. What is no whole number is as good as nothing.
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    pub(crate) fn new(wire: Arc<Wire>) -> Self {
        Self {
            kept: Cache::new(CAPACITY, |errand, token| {
                512 + errand.scope.len() + errand.realm.as_str().len() + token.header.len()
            }),
            flights: Flights::new(),
            formless: Cache::new(FORMLESS_CAPACITY, |(_, realm), ()| {
                256 + realm.as_str().len()
            }),
            wire,
        }
    }

    /// A token that still works, as far as can be told. One that is about to
    /// expire is renewed behind the caller's back.
    pub(crate) fn kept(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        errand: &Errand,
    ) -> Option<Arc<Token>> {
        let token = self.kept.get(errand)?;
        let now = self.wire.clock.now();
        if now >= token.expires {
            return None;
        }
        if now >= token.renew {
            self.board(upstream, errand);
        }
        Some(token)
    }

    /// A new token. Whoever asks while it is on its way shares it.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        errand: &Errand,
    ) -> Result<Arc<Token>, Error> {
        let ticket = self.board(upstream, errand);
        if ticket.joined {
            self.wire.metrics.joins.inc();
        }
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        ticket.landed().await.unwrap_or_else(crashed)
    }

    /// Forgets a token that its upstream has refused, unless it has been
    /// replaced already.
    pub(crate) fn forget(&self, errand: &Errand, refused: &HeaderValue) {
        let kept = self.kept.get(errand);
        if kept.is_some_and(|token| token.header == refused) {
            self.kept.remove(errand);
        }
    }

    fn board(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        errand: &Errand,
    ) -> Ticket<Result<Arc<Token>, Error>> {
        let (tokens, upstream) = (Arc::clone(self), Arc::clone(upstream));
        let errand = errand.clone();
        self.flights.board(errand.clone(), || async move {
            let token = Arc::new(tokens.get(&upstream, &errand).await?);
            tokens.kept.insert(errand, Arc::clone(&token));
            Ok(token)
        })
    }

    async fn get(&self, upstream: &Upstream, errand: &Errand) -> Result<Token, Error> {
        if upstream.realm_reach(&errand.realm, errand.reach).is_none() {
            let why = distrust(&upstream.url, &errand.realm);
            return Err(untrusted(upstream, &errand.realm, why));
        }
        let known_formless = (errand.site, errand.realm.clone());
        let credential = match self.formless.get(&known_formless) {
            Some(()) => None,
            None => upstream.credential(),
        };
        let Some(credential) = credential else {
            return self.ask(upstream, errand).await;
        };
        match self.post(upstream, errand, credential).await {
            // This server gives out no token for a form (of those in use, some
            // say 400 to one, some 401, 404 or 405).
            Err(
                Error::Denied { .. }
                | Error::BadAnswer { .. }
                | Error::Unavailable {
                    why: Why::Status(_),
                    ..
                },
            ) if !credential.is_identity_token() => {}
            outcome => return outcome,
        }
        let token = self.ask(upstream, errand).await?;
        self.formless.insert(known_formless, ());
        Ok(token)
    }

    /// Asks as OAuth2 has it.
    async fn post(
        &self,
        upstream: &Upstream,
        errand: &Errand,
        credential: &Credential,
    ) -> Result<Token, Error> {
        let call = Call {
            method: Method::POST,
            form: Some(errand.form(credential)),
            ..Self::call(upstream, errand, errand.realm.clone())
        };
        let reply = self.wire.send(call).await?;
        self.token(upstream, reply).await
    }

    /// Asks as docker's registries had it first.
    async fn ask(&self, upstream: &Upstream, errand: &Errand) -> Result<Token, Error> {
        let call = Call {
            pass: upstream.credential().and_then(basic),
            ..Self::call(upstream, errand, errand.url(upstream))
        };
        let reply = self.wire.send(call).await?;
        self.token(upstream, reply).await
    }

    /// The token in an answer.
    async fn token(&self, upstream: &Upstream, reply: Reply) -> Result<Token, Error> {
        let headers = reply.response.headers();
        match reply.response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(Error::Denied {
                    upstream: upstream.name.clone(),
                    reason: self.wire.reason(upstream, reply.response, None).await,
                });
            }
            status => {
                let failed = unavailable(upstream, Why::Status(status), Some(headers));
                return Err(failed.at(Place::TokenServer));
            }
        }
        let body = self.wire.read(upstream, reply.response, MAX_ANSWER).await;
        let body = body.map_err(|error| error.at(Place::TokenServer))?;
        Token::read(&body, self.wire.clock.now()).ok_or_else(|| Error::BadAnswer {
            upstream: upstream.name.clone(),
            what: "no token from its token server",
        })
    }

    fn call<'a>(upstream: &'a Upstream, errand: &Errand, url: Url) -> Call<'a> {
        let reach = upstream.realm_reach(&errand.realm, errand.reach);
        Call {
            upstream,
            kind: Kind::Token,
            method: Method::GET,
            form: None,
            url,
            headers: HeaderMap::new(),
            pass: None,
            reach: reach.unwrap_or(Reach::Public),
            hand_over: None,
        }
    }
}

impl Errand {
    fn url(&self, upstream: &Upstream) -> Url {
        let mut url = self.realm.clone();
        let mut query = url.query_pairs_mut();
        if let Some(service) = &self.service {
            query.append_pair("service", service);
        }
        for scope in self.scope.split_ascii_whitespace() {
            query.append_pair("scope", scope);
        }
        let account = upstream.credential();
        if let Some(credential) = account.filter(|it| !it.is_identity_token()) {
            query.append_pair("account", &credential.username);
        }
        drop(query);
        url
    }

    /// What to post. All scopes are one field here.
    fn form(&self, credential: &Credential) -> SecretString {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let secret = credential.password.expose_secret();
        if credential.is_identity_token() {
            form.append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", secret);
        } else {
            form.append_pair("grant_type", "password")
                .append_pair("username", &credential.username)
                .append_pair("password", secret);
        }
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        form.append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &self.scope);
        form.finish().into()
    }
}

impl Token {
    fn read(body: &[u8], now: Instant) -> Option<Self> {
        // Some write a byte order mark in front.
        let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let answer: Answer = serde_json::from_slice(json).ok()?;
        let is_given = |token: &String| !token.is_empty();
        let token = answer
            .token
            .filter(is_given)
            .or(answer.access_token.filter(is_given))?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        let life = answer
            .expires_in
            .and_then(|seconds| seconds.as_u64())
            .filter(|seconds| *seconds > 0)
            .map_or(USUAL_LIFE, Duration::from_secs)
            .min(LONGEST_LIFE);
        Some(Self {
            header,
            renew: now + life * 6 / 10,
            expires: now + life * 8 / 10,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<(String, u64)> {
        let now = Instant::now();
        let token = Token::read(body.as_bytes(), now)?;
        let header = token.header.to_str().unwrap().to_owned();
        Some((header, (token.expires - now).as_secs()))
    }

    #[test]
    fn a_token_goes_by_either_name_and_lives_a_minute_unless_told() {
        let minute = Some(("Bearer t".to_owned(), 48));

        assert_eq!(read(r#"{"token":"t"}"#), minute);
        assert_eq!(read(r#"{"access_token":"t"}"#), minute);
        assert_eq!(read("\u{feff}{\"token\":\"t\"}"), minute);
        assert_eq!(
            read(r#"{"token":"","access_token":"t","expires_in":0}"#),
            minute
        );
        for odd in ["null", "-1", "300.5", r#""300""#, "1e99", "{}"] {
            let body = format!(r#"{{"token":"t","expires_in":{odd}}}"#);
            assert_eq!(read(&body), minute, "{odd}");
        }
        assert_eq!(
            read(r#"{"token":"t","expires_in":300}"#),
            Some(("Bearer t".to_owned(), 240))
        );
    }

    #[test]
    fn what_holds_no_token_is_not_taken_for_one() {
        for body in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":"a\nb"}"#] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn debug_output_holds_no_token() {
        let token = Token::read(br#"{"token":"hunter2"}"#, Instant::now()).unwrap();

        assert!(!format!("{token:?}").contains("hunter2"));
    }

    #[test]
    fn every_scope_is_asked_for_by_itself() {
        let upstream = Upstream::new("hub", "https://r.example".parse().unwrap(), None, true);
        let errand = Errand {
            site: upstream.site(),
            realm: "https://r.example/t?a=b".parse().unwrap(),
            service: Some("r".into()),
            scope: "repository:x:pull aws".to_owned(),
            reach: Reach::Public,
        };

        let url = errand.url(&upstream);

        assert_eq!(
            url.query(),
            Some("a=b&service=r&scope=repository%3Ax%3Apull&scope=aws")
        );
    }
}
