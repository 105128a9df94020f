//! Asking an upstream until it answers, refuses or is given up.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::{
    Error, Place, Upstream, Why,
    access::{Access, Refusal},
    budget::Budget,
    challenge::Offers,
    circuit_breaker::CircuitBreaker,
    failover::{Failover, is_of_address},
    head_support::HeadSupport,
    metrics::Kind,
    patience::Patience,
    weather::{Weather, rate_limited, remaining_quota, unavailable},
    wire::{Call, Reply, Wire},
};
use crate::reference::Repository;

/// Times that an upstream may refuse one request: for want of a token, since
/// the token is no longer good, and since it is for the wrong scope.
const MAX_REFUSALS: usize = 3;

/// The way to all upstreams.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) wire: Arc<Wire>,
    pub(crate) weather: Weather,
    pub(crate) heads: HeadSupport,
    circuits: CircuitBreaker,
    budget: Budget,
    access: Access,
    failover: Failover,
}

/// Something to ask about a repository.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    /// Whom to ask.
    pub(crate) upstream: &'a Arc<Upstream>,
    /// About what.
    pub(crate) repository: &'a Repository,
    /// What for.
    pub(crate) kind: Kind,
    /// `GET` or `HEAD`.
    pub(crate) method: Method,
    /// What follows `/v2/<repository>/`.
    pub(crate) path: String,
    /// A query, without the question mark.
    pub(crate) query: Option<String>,
    /// Sent along.
    pub(crate) headers: HeaderMap,
    /// Leave redirects to other hosts to the client, which knows the worker as
    /// this one.
    pub(crate) hand_over: Option<&'a str>,
}

impl Exchange {
    pub(crate) fn new(wire: Arc<Wire>) -> Self {
        Self {
            weather: Weather::new(wire.clock.clone()),
            heads: HeadSupport::new(wire.clock.clone()),
            circuits: CircuitBreaker::new(wire.clock.clone()),
            budget: Budget::new(wire.settings.requests_per_second, wire.clock.clone()),
            access: Access::new(Arc::clone(&wire)),
            failover: Failover::new(wire.clock.clone()),
            wire,
        }
    }

    /// Asks once, each address of the upstream until one answers. The status of
    /// what is returned is 2xx, 304 or 416, or it is handed over.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Reply, Error> {
        if ask.upstream.fallbacks().is_empty() {
            return self.ask_address(ask).await;
        }
        let mut first_error = None;
        for (place, upstream) in self.failover.order(ask.upstream) {
            let ask_there = Ask {
                upstream,
                ..ask.clone()
            };
            match (self.ask_address(&ask_there).await, first_error.take()) {
                (Err(error), earlier) if is_of_address(&error) => {
                    first_error = Some(earlier.unwrap_or(error));
                }
                (outcome, None) => return outcome,
                (outcome, Some(_)) => {
                    self.failover.prefer(ask.upstream, place);
                    return outcome;
                }
            }
        }
        Err(first_error.unwrap_or_else(|| unavailable(ask.upstream, Why::Internal, None)))
    }

    async fn ask_address(&self, ask: &Ask<'_>) -> Result<Reply, Error> {
        let permit = self.wire.limits.request(ask.upstream).await?;
        self.budget.take(ask.upstream, ask.kind)?;
        self.weather.admit(ask.upstream, ask.kind)?;
        self.circuits.admit(ask)?;
        let outcome = self.admitted(ask).await;
        self.report(ask, outcome.as_ref().err());
        outcome.map(|reply| Reply {
            _permit: Some(permit),
            ..reply
        })
    }

    fn report(&self, ask: &Ask<'_>, error: Option<&Error>) {
        if let Some(Error::RateLimited { retry_after, .. }) = error
            && ask.kind == Kind::Manifest
        {
            self.weather.limit(ask.upstream, *retry_after);
        }
        let is_for_get = error.is_some_and(Error::is_for_get_to_settle);
        // The GET that settles it reports.
        if ask.method != Method::HEAD || !is_for_get {
            let failure = error.filter(|error| error.is_weather());
            self.circuits.report(ask, failure);
        }
    }

    /// Asks, and asks again while the upstream is unwell and there is patience
    /// left. For those who have nothing in the cache.
    pub(crate) async fn ask_patiently(&self, ask: &Ask<'_>) -> Result<Reply, Error> {
        let mut patience = self.patience();
        loop {
            match self.ask(ask).await {
                Err(error) if patience.outlasts(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Fails for a blob that is too large to be taken.
    pub(crate) fn check_length(&self, upstream: &Upstream, length: u64) -> Result<(), Error> {
        let largest = self.wire.settings.largest_blob;
        if length <= largest {
            return Ok(());
        }
        Err(Error::TooLarge {
            upstream: upstream.name.clone(),
            limit: usize::try_from(largest).unwrap_or(usize::MAX),
        })
    }

    /// The patience that is due to a client.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.wire.settings.patience)
    }

    async fn admitted(&self, ask: &Ask<'_>) -> Result<Reply, Error> {
        let repository = &*ask.upstream.name_of(ask.repository);
        let mut pass = self.access.pass(ask.upstream, repository).await?;
        let mut refusals = 0;
        loop {
            let header = pass.as_ref().map(|pass| pass.header.clone());
            let reply = self.wire.send(ask.call(header.clone())).await?;
            self.note_quota(ask, &reply);
            if !is_refusal(ask, &reply, pass.is_some()) || refusals == MAX_REFUSALS {
                let reply = self.past_challenge_elsewhere(ask, reply).await?;
                return self.judged(ask, reply, header).await;
            }
            let refusal = Refusal {
                headers: reply.response.headers(),
                reach: reply.reach,
                pass,
            };
            let next = self
                .access
                .next_pass(ask.upstream, repository, refusal)
                .await?;
            let Some(next) = next else {
                return self.judged(ask, reply, header).await;
            };
            pass = Some(next);
            refusals += 1;
        }
    }

    /// The one place where an upstream's status becomes an error.
    async fn judged(
        &self,
        ask: &Ask<'_>,
        reply: Reply,
        pass: Option<HeaderValue>,
    ) -> Result<Reply, Error> {
        let upstream = ask.upstream;
        let headers = reply.response.headers();
        let name = upstream.name.clone();
        match reply.response.status() {
            _ if reply.handed_over.is_some() => Ok(reply),
            StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE => Ok(reply),
            status if status.is_success() => Ok(reply),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Error::NotFound { upstream: name }),
            status if ask.kind == Kind::Referrers && is_no_api(status, reply.is_at_home) => {
                Err(Error::BadAnswer {
                    upstream: name,
                    what: "no referrers API",
                })
            }
            // A signed address may no longer work; a new one is had by asking again.
            status if !reply.is_at_home && is_error(status) => {
                let failed = unavailable(upstream, Why::Status(status), Some(headers));
                Err(failed.at(Place::RedirectTarget))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(rate_limited(upstream, headers)),
            status if status.is_server_error() || is_transient(status) => {
                Err(unavailable(upstream, Why::Status(status), Some(headers)))
            }
            status if status.is_client_error() => {
                let reason = self.wire.reason(upstream, reply.response, pass).await;
                Err(match status {
                    status if is_denial(status) => Error::Denied {
                        upstream: name,
                        reason,
                    },
                    _ => Error::Refused {
                        upstream: name,
                        status,
                        reason,
                    },
                })
            }
            _ => Err(Error::BadAnswer {
                upstream: name,
                what: "an unexpected status",
            }),
        }
    }

    /// The same reply, unless it is the challenge of another registry, to which
    /// the upstream has redirected: then what is answered to a token of that
    /// one. It gets no credential, unless it is the upstream, over https.
    async fn past_challenge_elsewhere(&self, ask: &Ask<'_>, reply: Reply) -> Result<Reply, Error> {
        if reply.is_at_home || reply.response.status() != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let url = reply.response.url().clone();
        let elsewhere = Arc::new(ask.upstream.led_to(&url));
        let repository = &*ask.upstream.name_of(ask.repository);
        let offers = Offers::read(reply.response.headers(), repository);
        let may_enter = offers.bearer.is_some() || offers.basic && elsewhere.credential().is_some();
        if !may_enter {
            return Ok(reply);
        }
        let refusal = Refusal {
            headers: reply.response.headers(),
            reach: reply.reach,
            pass: None,
        };
        let pass = self.access.next_pass(&elsewhere, repository, refusal);
        let Some(pass) = pass.await? else {
            return Ok(reply);
        };
        let call = Call {
            upstream: &elsewhere,
            url,
            reach: reply.reach,
            ..ask.call(Some(pass.header))
        };
        let is_there = |error: Error| error.at(Place::RedirectTarget);
        let reply = self.wire.send(call).await.map_err(is_there)?;
        let is_at_home = is_denial(reply.response.status());
        Ok(Reply {
            is_at_home,
            ..reply
        })
    }

    fn note_quota(&self, ask: &Ask<'_>, reply: &Reply) {
        if let Some(remaining) = remaining_quota(reply.response.headers()) {
            let name = &ask.upstream.name;
            self.wire.metrics.ratelimit_remaining(name, remaining);
            self.weather.note_quota(ask.upstream, remaining);
        }
    }
}

impl Ask<'_> {
    fn call(&self, pass: Option<HeaderValue>) -> Call<'_> {
        let mut headers = self.headers.clone();
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        Call {
            upstream: self.upstream,
            kind: self.kind,
            method: self.method.clone(),
            form: None,
            url: self.url(),
            headers,
            pass,
            reach: self.upstream.reach(),
            hand_over: self.hand_over,
        }
    }

    fn url(&self) -> Url {
        let mut url = self.upstream.url.clone();
        let base = url.path().trim_end_matches('/');
        // The repository and the path follow the grammar: there is nothing to
        // escape, and no dots that lead out.
        let repository = self.upstream.name_of(self.repository);
        let path = format!("{base}/v2/{repository}/{}", self.path);
        url.set_path(&path);
        url.set_query(self.query.as_deref());
        url.set_fragment(None);
        url
    }
}

/// Whether the upstream itself, and not somebody it has redirected to, wants
/// to see another pass. Some hide what is private from a request without one, or
/// lead it to a page where people sign in.
fn is_refusal(ask: &Ask<'_>, reply: &Reply, has_pass: bool) -> bool {
    let is_anonymous = !has_pass && ask.upstream.credential().is_some();
    if is_anonymous && reply.handed_over.is_none() && is_page(&reply.response) {
        return true;
    }
    reply.is_at_home
        && match reply.response.status() {
            status if is_denial(status) => true,
            StatusCode::NOT_FOUND | StatusCode::GONE => is_anonymous,
            _ => false,
        }
}

fn is_page(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let is_html = media_type.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    is_html && response.status().is_success()
}

fn is_denial(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether an answer says that there is no such API, which is no failure: the
/// upstream's own, or that of the sign-in that it redirects to.
fn is_no_api(status: StatusCode, is_at_home: bool) -> bool {
    let is_elsewhere = !is_at_home && status != StatusCode::TOO_MANY_REQUESTS;
    status == StatusCode::NOT_IMPLEMENTED || (is_elsewhere && status.is_client_error())
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Refusals that the same request may not meet a little later.
fn is_transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
}
