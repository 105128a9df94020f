//! Who shares whose reading of a blob.

use std::sync::Arc;

use dashmap::DashMap;
use http::{Method, Response, StatusCode};
use tracing::Instrument;

use super::{
    Answer, BlobBody, BlobRequest,
    feed::{Budget, Feed, Seat},
    reopen::Reopen,
};
use crate::{
    cache::Flights,
    reference::{Digest, Repository},
    upstream::{
        Error, Site, Upstream, Why, exchange::Exchange, hash::Hasher, weather::unavailable,
    },
};

/// Blobs of all upstreams.
#[derive(Debug)]
pub(crate) struct Blobs {
    pub(super) exchange: Arc<Exchange>,
    feeds: DashMap<Key, Arc<Feed>, ahash::RandomState>,
    /// Feeds that are being opened. None: the upstream does not say how long
    /// the blob is, and nobody can share it.
    opening: Flights<Key, Result<Option<Arc<Feed>>, Error>>,
    budget: Budget,
}

/// A blob of a repository, as seen with one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    site: Site,
    repository: Repository,
    digest: Digest,
}

impl Blobs {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        let settings = &exchange.wire.settings;
        Self {
            budget: Budget {
                ring: settings.blob_ring_bytes,
                all: settings.blob_rings_bytes,
                total: Arc::default(),
            },
            exchange,
            feeds: DashMap::default(),
            opening: Flights::new(),
        }
    }

    /// The whole blob, from a reading that is shared with whoever else wants it
    /// now. None: it cannot be shared.
    pub(super) async fn share(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
    ) -> Result<Option<Response<BlobBody>>, Error> {
        let key = Key {
            site: upstream.site(),
            repository: request.repository.clone(),
            digest: request.digest.clone(),
        };
        if let Some(seat) = self.join(&key) {
            self.exchange.wire.metrics.blob_joins.inc();
            return Ok(Some(seated(seat, &key.digest)));
        }
        let (blobs, its_upstream) = (Arc::clone(self), Arc::clone(upstream));
        let ticket = self.opening.board(key.clone(), || {
            let key = key.clone();
            async move { blobs.open(&its_upstream, key).await }
        });
        let joined = ticket.joined;
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        let feed = ticket.landed().await.unwrap_or_else(crashed)?;
        // Without a seat the first byte has gone by in the meantime.
        let Some(seat) = feed.and_then(|feed| feed.join()) else {
            return Ok(None);
        };
        if joined {
            self.exchange.wire.metrics.blob_joins.inc();
        }
        Ok(Some(seated(seat, &key.digest)))
    }

    fn join(&self, key: &Key) -> Option<Seat> {
        self.feeds.get(key)?.join()
    }

    async fn open(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        key: Key,
    ) -> Result<Option<Arc<Feed>>, Error> {
        let request = BlobRequest {
            repository: &key.repository,
            digest: &key.digest,
            method: &Method::GET,
            range: None,
            if_range: None,
            host: None,
        };
        let reply = self
            .exchange
            .ask_patiently(&request.ask(upstream, None))
            .await?;
        let answer = Answer::read(upstream, &reply, false)?;
        let (StatusCode::OK, Some(length)) = (answer.status, answer.length) else {
            return Ok(None);
        };
        let reopen = Reopen::new(&self.exchange, upstream, request);
        let feed = Feed::new(answer, length, reopen.again(), self.budget.clone());
        let feed = Arc::new(feed);
        let transfer = answer.transfer(reply, reopen, &key.digest);
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
        Ok(Some(feed))
    }
}

fn seated(seat: Seat, digest: &Digest) -> Response<BlobBody> {
    let mut response = seat.feed().answer.response(digest);
    *response.body_mut() = seat.into();
    response
}
