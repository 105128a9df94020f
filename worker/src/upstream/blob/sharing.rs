//! Who shares whose reading of a blob.

use std::sync::Arc;

use dashmap::DashMap;
use http::{Response, StatusCode};
use tracing::Instrument;
use url::Url;

use super::{
    Answer, BlobBody, BlobRequest,
    cache::{BlobCache, Held, Outcome},
    elsewhere,
    feed::{Budget, Feed, Seat},
    known::{Key, Known},
    reopen::Reopen,
    transfer::Transfer,
};
use crate::{
    cache::Flights,
    purge::PurgeScope,
    reference::Digest,
    upstream::{
        Error, Upstream, Why,
        exchange::{Ask, Exchange},
        hash::Hasher,
        weather::unavailable,
    },
};

/// Blobs of all upstreams.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(super) exchange: Arc<Exchange>,
    pub(super) known: Known,
    pub(super) cache: Option<Arc<BlobCache>>,
    feeds: DashMap<Key, Arc<Feed>, ahash::RandomState>,
    opening: Flights<Opening, Result<Opened, Error>>,
    pub(super) vouching: Flights<Key, Result<Option<u64>, Error>>,
    budget: Budget,
}

/// A blob that is being opened, for clients who know the worker by this name
/// and would follow a redirect to another.
type Opening = (Key, Option<Box<str>>);

/// What came of opening a blob.
#[derive(Clone, Debug)]
enum Opened {
    /// It comes through memory.
    Feed(Arc<Feed>),
    /// It comes through a file.
    Held(Held),
    /// It is to be fetched from there.
    Elsewhere(Url),
    /// The upstream does not say how long it is, and nobody can share it.
    Alone,
}

impl Blobs {
    /// Blobs, kept where the settings say so. Must be called within a runtime
    /// then.
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        let wire = &exchange.wire;
        let settings = &wire.settings;
        let cache = settings.blob_directory.as_ref().map(|place| {
            let cache = BlobCache::new(place, wire.metrics.blob_cache.clone());
            Arc::new(cache)
        });
        if let Some(cache) = cache.clone() {
            tokio::spawn(async move { cache.sweep().await });
        }
        Self {
            known: Known::new(wire.clock.clone()),
            cache,
            budget: Budget {
                ring: settings.blob_ring_bytes,
                all: settings.blob_rings_bytes,
                total: Arc::default(),
            },
            exchange,
            feeds: DashMap::default(),
            opening: Flights::new(),
            vouching: Flights::new(),
        }
    }

    /// Drops what `scope` covers: what is known of blobs, and a blob's file.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.known.purge(scope);
        if let (Some(cache), Some(digest)) = (self.cache.clone(), scope.digest().cloned()) {
            tokio::spawn(async move { cache.remove(digest).await });
        }
    }

    /// Whether what comes is kept.
    pub(super) fn keeps(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.is_well())
    }

    /// Counts where a blob came from.
    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(cache) = &self.cache {
            cache.metrics.answered(outcome);
        }
    }

    /// What `request` is for, from a reading that is shared with whoever else
    /// wants it now. None: it cannot be shared.
    pub(super) async fn share(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        hand_over: Option<&str>,
    ) -> Result<Option<Response<BlobBody>>, Error> {
        let key = Key::new(upstream, &request);
        if request.span().is_none()
            && let Some(seat) = self.join(&key)
        {
            self.count_join();
            return Ok(Some(seated(seat, &key.digest)));
        }
        let (blobs, its_upstream) = (Arc::clone(self), Arc::clone(upstream));
        let opening = (key, hand_over.map(Box::from));
        let ticket = self.opening.board(opening.clone(), || async move {
            blobs.open_for_all(&its_upstream, opening).await
        });
        let joined = ticket.joined;
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        let opened = ticket.landed().await.unwrap_or_else(crashed)?;
        let response = self.seat(upstream, request, opened);
        match (&response, joined) {
            (Some(_), true) => self.count_join(),
            (Some(_), false) => self.count(Outcome::Miss),
            (None, _) => {}
        }
        Ok(response)
    }

    /// A seat for one client. None: there is none, or what it wants has gone by
    /// in the meantime.
    fn seat(
        &self,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        opened: Opened,
    ) -> Option<Response<BlobBody>> {
        match opened {
            Opened::Held(held) => self.read(self.cache.as_ref()?, upstream, request, held),
            Opened::Feed(feed) if request.span().is_none() => {
                Some(seated(feed.join()?, request.digest))
            }
            Opened::Elsewhere(place) => Some(elsewhere(&place)),
            Opened::Feed(_) | Opened::Alone => None,
        }
    }

    fn join(&self, key: &Key) -> Option<Seat> {
        self.feeds.get(key)?.join()
    }

    fn count_join(&self) {
        self.exchange.wire.metrics.blob_joins.inc();
        self.count(Outcome::Join);
    }

    async fn open_for_all(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        (key, hand_over): Opening,
    ) -> Result<Opened, Error> {
        if let Some(held) = self.begun(&key).await {
            return Ok(Opened::Held(held));
        }
        let request = BlobRequest::whole(&key);
        let ask = Ask {
            hand_over: hand_over.as_deref(),
            ..request.ask(upstream, None)
        };
        let reply = self.exchange.ask_patiently(&ask).await?;
        if let Some(place) = reply.handed_over {
            return Ok(Opened::Elsewhere(place));
        }
        let answer = Answer::read(upstream, &reply, false)?;
        let (StatusCode::OK, Some(length)) = (answer.status, answer.length) else {
            return Ok(Opened::Alone);
        };
        self.exchange.check_length(upstream, length)?;
        match hand_over {
            Some(_) => self.known.learn_unredirected(&key, length),
            None => self.known.learn(&key, length),
        }
        let reopen = Reopen::new(&self.exchange, upstream, request);
        let mut transfer = answer.transfer(reply, reopen.again(), &key.digest);
        if let Some(cache) = &self.cache {
            match cache
                .begin((&key.digest, key.origin), length, transfer)
                .await
            {
                Ok(held) => return Ok(Opened::Held(held)),
                Err(unused) => transfer = *unused,
            }
        }
        let feed = Feed::new(answer, length, reopen, self.budget.clone());
        Ok(Opened::Feed(self.feed(key, Arc::new(feed), transfer)))
    }

    /// What another has begun to keep since the caller looked.
    async fn begun(&self, key: &Key) -> Option<Held> {
        let fact = self.known.get(key)?;
        let held = self.cache.as_ref()?.find(&key.digest, key.origin).await?;
        (self.known.is_fresh(&fact) && held.length == fact.length).then_some(held)
    }

    /// Reads `transfer` into `feed`, for as long as there are clients.
    fn feed(self: &Arc<Self>, key: Key, feed: Arc<Feed>, transfer: Transfer) -> Arc<Feed> {
        self.feeds.insert(key.clone(), Arc::clone(&feed));
        let (blobs, filled) = (Arc::clone(self), Arc::clone(&feed));
        let task = async move {
            let hasher = Hasher::new(key.digest.clone());
            filled.fill(transfer, hasher).await;
            blobs
                .feeds
                .remove_if(&key, |_, feed| Arc::ptr_eq(feed, &filled));
        };
        tokio::spawn(task.in_current_span());
        feed
    }
}

fn seated(seat: Seat, digest: &Digest) -> Response<BlobBody> {
    let mut response = seat.feed().answer.response(digest);
    *response.body_mut() = seat.into();
    response
}
