//! The registry API that container clients speak to (OCI distribution-spec,
//! pull side).
//!
//! Data flows one way: parse the path, authenticate the client, take a
//! snapshot, and only then query caches and upstreams.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{CACHE_CONTROL, WARNING},
    request::Parts,
};
use tracing::{Instrument as _, debug, field};

use self::{
    answers::Answers,
    error::Error,
    names::{Name, Target},
    path::InvalidPath,
    purges::Purges,
    trimmed::Trims,
};
use crate::{
    auth::{Gate, LoginKey, Place},
    metrics::{Cached, Endpoint, Metrics},
    peer::names_host,
    recipes::Recipes,
    snapshot::{Current, Kind, Outdated, Snapshot},
    telemetry,
    upstream::{Puller, Source, warning},
};

mod accept;
mod answers;
mod attached;
mod blobs;
mod body;
mod caller;
mod choice;
mod error;
mod flat;
mod listings;
mod manifests;
mod names;
mod path;
mod permission;
mod purges;
mod served;
mod token;
mod trimmed;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::accept::accepts;
pub(crate) use self::{body::Body, path::Route, token::read};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const VERSION_2: HeaderValue = HeaderValue::from_static("registry/2.0");
const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// What one host is given is not for another.
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
/// A token is for nobody else, and not for long.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const STANDS_IN: HeaderValue = HeaderValue::from_static(
    "299 - \"the control plane cannot be reached: this stands in for a trimmed index\"",
);
/// The part of the remembered answers that can be found by their own digest:
/// one of four.
const TRIMS_SHARE: u64 = 4;
/// How long a request waits for the first policy.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers the requests of container clients.
#[derive(Debug)]
pub(crate) struct Registry {
    current: Arc<Current>,
    puller: Arc<Puller>,
    recipes: Recipes,
    answers: Answers,
    trims: Trims,
    purges: Purges,
    gate: Gate,
    metrics: Metrics,
}

/// A request of an authenticated client.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    snapshot: &'a Snapshot,
    /// The caller's machine type.
    kind: &'a Kind,
    /// The login that authenticated the request.
    login: &'a LoginKey,
    method: &'a Method,
    /// Whether only headers are wanted.
    head: bool,
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    /// The worker as the client knows it: a host, optionally with a port.
    authority: Option<&'a str>,
    /// The host that the client believes to speak to.
    namespace: Option<Cow<'a, str>>,
    /// Whether the policy is too old to open what is restricted.
    outdated: Option<Outdated>,
}

/// What is known of a request when it has been answered.
#[derive(Debug, Default)]
struct Notes {
    endpoint: Endpoint,
    cached: Cached,
    /// The time spent waiting for upstreams.
    waited: Duration,
    login: Option<String>,
    kind: Option<Arc<Kind>>,
    place: Option<Place>,
    /// The index that the answer was chosen from.
    chosen_from: Option<Arc<Source>>,
    /// Whether the answer stands in for a trimmed index.
    stands_in: bool,
    /// Whether the policy is too old.
    outdated: Option<Outdated>,
}

impl Registry {
    /// A registry that lets clients in by `gate`, serves what `current` allows
    /// of what `puller` gets, trims by `recipes`, and remembers `capacity` bytes
    /// of answers.
    pub(crate) fn new(
        gate: Gate,
        current: Arc<Current>,
        puller: Arc<Puller>,
        recipes: Recipes,
        capacity: u64,
    ) -> Self {
        let trims = capacity / TRIMS_SHARE;
        Self {
            current,
            puller,
            recipes,
            answers: Answers::new(capacity - trims),
            trims: Trims::new(trims),
            purges: Purges::default(),
            gate,
            metrics: Metrics::new(),
        }
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The way to the upstreams.
    pub(crate) fn puller(&self) -> &Puller {
        &self.puller
    }

    /// How trimmed indexes are made.
    pub(crate) fn recipes(&self) -> &Recipes {
        &self.recipes
    }

    /// How many bytes of answers are remembered.
    pub(crate) fn answers_weight(&self) -> u64 {
        self.answers.weight()
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(&self, request: Parts) -> Response<Body> {
        let (began, _open) = (Instant::now(), self.metrics.open());
        let mut notes = Notes {
            outdated: self.current.outdated(began),
            ..Notes::default()
        };
        let span = telemetry::request_span(&request);
        let served = self.serve(&request, &mut notes).instrument(span.clone());
        let mut response = served.await.unwrap_or_else(|error| {
            debug!(parent: &span, %error, "refused");
            error.response(request.method == Method::HEAD)
        });
        let is_success = response.status().is_success();
        let headers = response.headers_mut();
        headers.insert(API_VERSION, VERSION_2);
        let caching = match notes.endpoint {
            Endpoint::Token => NO_STORE,
            _ => PRIVATE,
        };
        headers.entry(CACHE_CONTROL).or_insert(caching);
        if let Some(source) = &notes.chosen_from {
            headers.insert(served::SOURCE_DIGEST, served::value(source.digest.as_str()));
        }
        if notes.stands_in && is_success {
            headers.append(WARNING, STANDS_IN);
        }
        if let Some(outdated) = &notes.outdated {
            let text = format!("{outdated}: what is restricted is closed");
            headers.append(WARNING, warning(&text));
        }
        let added = began.elapsed().saturating_sub(notes.waited);
        let status = response.status().as_u16();
        self.metrics
            .answered(notes.endpoint, status, notes.cached, added);
        telemetry::answered(&span, status);
        debug!(
            parent: &span,
            login = notes.login,
            machine_type = notes.kind.map(|kind| field::display(kind.name.clone())),
            digest = response.headers().get(served::CONTENT_DIGEST).map(field::debug),
            source_digest = notes.chosen_from.map(|it| field::display(it.digest.clone())),
            cached = ?notes.cached,
            added_us = added.as_micros(),
            "answered {status}",
        );
        response.map(|body| body.keep(notes.place))
    }

    async fn serve(&self, request: &Parts, notes: &mut Notes) -> Result<Response<Body>, Error> {
        let path = request.uri.path();
        let route = Route::parse(path);
        notes.endpoint = route
            .as_ref()
            .map_or_else(|_| Endpoint::Other, Endpoint::of);
        if !names_host(request) {
            return Err(Error::Host);
        }
        // Only the API asks for a login.
        let is_token = path == token::PATH;
        if !is_token && path != "/v2" && !path.starts_with("/v2/") {
            return Err(Error::Path(InvalidPath::NoEndpoint));
        }
        let snapshot = match self.current.load_full() {
            Some(snapshot) => snapshot,
            // A load balancer may find a worker before the policy does.
            None => self.current.first(PATIENCE).await.ok_or(Error::NotReady)?,
        };
        if is_token {
            return self.token(&snapshot, request, notes);
        }
        let name = route.as_ref().ok().and_then(Route::name);
        let caller = self.gate.admit(&snapshot, request);
        let caller = caller.and_then(|caller| caller.asking_for(name.map(Name::as_str)));
        let caller = caller.map_err(|refused| {
            let scope = name.map(|name| format!("repository:{name}:pull"));
            let challenge = self.gate.challenge(&snapshot, request, scope, &refused);
            Error::refused(refused, challenge)
        })?;
        notes.login = Some(caller.name);
        self.carry_out_purges(&snapshot);
        let in_flight = caller.place.in_flight();
        notes.place = Some(caller.place);
        notes.kind = Some(caller.kind.clone());
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Error::Write);
        }
        let authority = self.gate.host(request);
        let asked = Asked {
            snapshot: &snapshot,
            kind: &caller.kind,
            login: &caller.login,
            method: &request.method,
            head: request.method == Method::HEAD,
            headers: &request.headers,
            query: request.uri.query(),
            authority: authority.as_deref(),
            namespace: namespace(request.uri.query()),
            outdated: notes.outdated,
        };
        let route = route.map_err(Error::Path)?;
        let dispatched = in_flight.scope(self.dispatch(&asked, &route, notes));
        let mut response = dispatched.await?;
        if let Some(namespace) = asked.namespace.as_deref() {
            let headers = response.headers_mut();
            headers.insert(NAMESPACE, served::value(namespace));
        }
        Ok(response)
    }

    async fn dispatch(
        &self,
        asked: &Asked<'_>,
        route: &Route,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let Some(name) = route.name() else {
            return match route {
                Route::Catalog => Err(Error::Catalog),
                Route::Caller => Ok(caller::answer(asked, &self.current)),
                _ => Ok(served::whole(asked, "{}".into(), JSON)),
            };
        };
        let namespace = asked.namespace.as_deref();
        let target = Target::find(asked.snapshot, name, namespace, asked.authority)?;
        // Everything beyond this has been allowed: caches and flights are
        // shared by all who may pull a repository.
        let target = asked.allowed(target)?;
        let answered = match route {
            Route::Manifest(_, reference) => self.manifest(asked, &target, reference, notes).await,
            Route::Blob(_, digest) => self.blob(asked, &target, digest, notes).await,
            Route::Referrers(_, digest) => self.referrers(asked, &target, digest, notes).await,
            _ => self.tags(asked, &target, notes).await,
        };
        answered.map_err(|error| error.naming(route, &target.repository))
    }
}

impl Asked<'_> {
    /// `target`, if the caller may pull it. Whether it exists does not matter.
    fn allowed<'a>(&self, target: Target<'a>) -> Result<Target<'a>, Error> {
        let user = &self.kind.user;
        let repository = target.repository.as_str();
        if let Some(outdated) = self.outdated.filter(|_| target.upstream.is_restricted()) {
            return Err(Error::Outdated(outdated));
        }
        if self.snapshot.may_pull(user, target.upstream, repository) {
            return Ok(target);
        }
        Err(Error::NoGrant {
            user: user.clone(),
            repository: format!("{}/{repository}", target.upstream.name),
        })
    }
}

impl Notes {
    /// Notes that a cache had the answer.
    fn hit(&mut self) {
        if self.cached == Cached::None {
            self.cached = Cached::Hit;
        }
    }

    /// Waits for an upstream, and notes for how long.
    async fn wait_for<T>(&mut self, pulled: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let pulled = pulled.await;
        self.cached = Cached::Miss;
        self.waited += began.elapsed();
        pulled
    }
}

/// The value of `ns` in a query.
fn namespace(query: Option<&str>) -> Option<Cow<'_, str>> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(key, _)| key == "ns")
        .map(|(_, host)| host)
}

#[cfg(test)]
mod tests;
