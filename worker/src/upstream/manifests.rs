//! Manifests: from memory where that will do, else fetched once for all who
//! wait.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;

use super::{
    Error, Source, Upstream, Why,
    exchange::{Ask, Exchange},
    manifest::{ACCEPT, MAX_MANIFEST, announced_digest, check},
    metrics::{Kind, Metrics, Revalidation},
    shelf::{Kept, Key, KeyRef, Shelf},
    weather::unavailable,
    wire::timed_out,
};
use crate::{
    cache::{Flights, Ticket},
    purge::PurgeScope,
    reference::{Reference, Repository},
};

/// The manifests of all upstreams.
#[derive(Debug)]
pub(crate) struct Manifests {
    shelf: Shelf,
    flights: Flights<Key, Result<Arc<Source>, Error>>,
    exchange: Arc<Exchange>,
}

impl Manifests {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            shelf: Shelf::new(Arc::clone(&exchange.wire)),
            flights: Flights::new(),
            exchange,
        }
    }

    /// What needs no upstream. Takes no lock and allocates nothing.
    pub(crate) fn fresh(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        reference: &Reference,
    ) -> Option<Arc<Source>> {
        let source = self
            .shelf
            .fresh(&KeyRef::new(upstream, repository, reference))?;
        if source.stale.is_some() {
            self.metrics().stale_served.inc();
        }
        Some(source)
    }

    /// A manifest, from memory or from the upstream.
    pub(crate) async fn get(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Arc<Source>, Error> {
        let outcome = self
            .find(upstream, Key::new(upstream, repository, reference))
            .await;
        if outcome.as_ref().is_ok_and(|source| source.stale.is_some()) {
            self.metrics().stale_served.inc();
        }
        outcome
    }

    async fn find(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        key: Key,
    ) -> Result<Arc<Source>, Error> {
        let kept = self.shelf.get(&key);
        if let Some(kept) = kept.as_ref().filter(|kept| self.shelf.is_fresh(kept)) {
            return kept.outcome.clone();
        }
        let ticket = self.board(upstream, &key);
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        let landed = async { ticket.landed().await.unwrap_or_else(crashed) };
        let Some(old) = kept.filter(|kept| kept.outcome.is_ok()) else {
            return landed.await;
        };
        // The flight goes on when patience is out; until it lands, everybody
        // is served what there is.
        timeout(self.exchange.wire.settings.patience, landed)
            .await
            .unwrap_or_else(|_| self.shelf.keep_stale(key, &old, timed_out(upstream)))
    }

    fn board(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        key: &Key,
    ) -> Ticket<Result<Arc<Source>, Error>> {
        let (manifests, upstream) = (Arc::clone(self), Arc::clone(upstream));
        let ticket = self.flights.board(key.clone(), || {
            let key = key.clone();
            async move { manifests.refresh(&upstream, &key).await }
        });
        if ticket.joined {
            self.metrics().joins.inc();
        }
        ticket
    }

    /// One flight: looks for what another has brought in between, and asks the
    /// upstream for the rest.
    async fn refresh(&self, upstream: &Arc<Upstream>, key: &Key) -> Result<Arc<Source>, Error> {
        match &self.shelf.get(key) {
            Some(kept) if self.shelf.is_fresh(kept) => kept.outcome.clone(),
            Some(old) if let Ok(source) = &old.outcome => {
                self.revalidate(upstream, key, old, source).await
            }
            _ => {
                let fetched = self.fetch_patiently(upstream, key).await;
                self.take(key, fetched)
            }
        }
    }

    /// Asks whether a tag still means `source`, and what it means if not. Only
    /// what the upstream says about the tag replaces `source`.
    async fn revalidate(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
        old: &Kept,
        source: &Arc<Source>,
    ) -> Result<Arc<Source>, Error> {
        let current = self.current(upstream, key, source).await;
        let outcome = match &current {
            Ok(current) if current.digest == source.digest => Revalidation::Confirmed,
            Ok(_) => Revalidation::Changed,
            Err(error) if error.is_final() => Revalidation::Gone,
            Err(_) => Revalidation::Failed,
        };
        self.metrics().revalidated(outcome);
        match current {
            Err(error) if !error.is_final() => self.shelf.keep_stale(key.clone(), old, error),
            current => current,
        }
    }

    /// What a tag means now. A `HEAD` can only confirm `source`; one `GET`
    /// settles everything else.
    async fn current(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
        source: &Arc<Source>,
    ) -> Result<Arc<Source>, Error> {
        if self.exchange.weather.is_quota_low(upstream) {
            return Err(Error::RateLimited {
                upstream: upstream.name.clone(),
                retry_after: self.exchange.wire.settings.tag_ttl,
            });
        }
        let heads = &self.exchange.heads;
        let head = match heads.is_reliable(upstream, &key.repository, Kind::Manifest) {
            true => self.exchange.ask(&ask(upstream, key, Method::HEAD)).await,
            false => return self.get_current(upstream, key, source).await,
        };
        let digest = match head {
            Ok(reply) => announced_digest(reply.response.headers()),
            Err(error) if error.is_for_get_to_settle() => None,
            Err(error) => return Err(error),
        };
        if digest.as_ref() == Some(&source.digest) {
            return Ok(self.shelf.confirm(key.clone(), Arc::clone(source)));
        }
        let current = self.get_current(upstream, key, source).await;
        if current
            .as_ref()
            .is_ok_and(|it| digest.as_ref() != Some(&it.digest))
        {
            heads.note_unreliable(upstream, &key.repository, Kind::Manifest);
        }
        current
    }

    async fn get_current(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
        source: &Arc<Source>,
    ) -> Result<Arc<Source>, Error> {
        let known = source.etag.clone().map(|etag| (etag, source));
        let fetched = self.fetch(upstream, key, known).await;
        self.take(key, fetched)
    }

    async fn fetch_patiently(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
    ) -> Result<Arc<Source>, Error> {
        let mut patience = self.exchange.patience();
        loop {
            match self.fetch(upstream, key, None).await {
                Err(error) if patience.outlasts(&error).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Gets a manifest and checks it, unless it is `known` by its `ETag`.
    async fn fetch(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
        known: Option<(HeaderValue, &Arc<Source>)>,
    ) -> Result<Arc<Source>, Error> {
        let mut ask = ask(upstream, key, Method::GET);
        let etag = known.as_ref().map(|(etag, _)| etag.clone());
        ask.headers
            .extend(etag.map(|etag| (header::IF_NONE_MATCH, etag)));
        let reply = self.exchange.ask(&ask).await?;
        match (reply.response.status(), known) {
            (StatusCode::OK, _) => {}
            (StatusCode::NOT_MODIFIED, Some((_, source))) => {
                return Ok(Arc::new(source.with_stale(None)));
            }
            _ => {
                return Err(Error::BadAnswer {
                    upstream: upstream.name.clone(),
                    what: "an unexpected status",
                });
            }
        }
        let headers = reply.response.headers().clone();
        let wire = &self.exchange.wire;
        let bytes = wire.read(upstream, reply.response, MAX_MANIFEST).await?;
        let checked = check(upstream, &key.reference, &headers, bytes);
        if matches!(checked, Err(Error::DigestMismatch { .. })) {
            self.metrics().digest_mismatches.inc();
        }
        checked.map(Arc::new)
    }

    /// Keeps what has come, or for a moment that there is nothing to be had.
    fn take(&self, key: &Key, fetched: Result<Arc<Source>, Error>) -> Result<Arc<Source>, Error> {
        match fetched {
            Ok(source) => Ok(self.shelf.keep(key, source)),
            Err(error) => {
                if error.is_final() {
                    self.shelf.keep_failure(key.clone(), error.clone());
                }
                Err(error)
            }
        }
    }

    /// Drops what `scope` covers.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.shelf.purge(scope);
    }

    fn metrics(&self) -> &Metrics {
        &self.exchange.wire.metrics
    }
}

fn ask<'a>(upstream: &'a Arc<Upstream>, key: &'a Key, method: Method) -> Ask<'a> {
    Ask {
        upstream,
        repository: &key.repository,
        kind: Kind::Manifest,
        method,
        path: format!("manifests/{}", key.reference),
        query: None,
        headers: HeaderMap::from_iter([(header::ACCEPT, ACCEPT)]),
        hand_over: None,
    }
}
