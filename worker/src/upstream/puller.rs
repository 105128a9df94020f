//! The one way to the upstreams.

use std::sync::Arc;

use super::{
    BlobBody, BlobRequest, Error, Metrics, ReferrersPage, Settings, Source, TagsPage, Upstream,
    blob::{self, Blobs},
    clock::Clock,
    dialer::Dialer,
    exchange::Exchange,
    listing::{Listed, Lists},
    manifests::Manifests,
    wire::Wire,
};
use crate::{
    purge::PurgeScope,
    reference::{Digest, Reference, Repository},
};

/// Fetches, checks, caches and streams what upstreams have. One per worker.
#[derive(Debug)]
pub(crate) struct Puller {
    exchange: Arc<Exchange>,
    manifests: Arc<Manifests>,
    blobs: Arc<Blobs>,
    lists: Lists,
}

/// Why a [`Puller`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BuildError {
    /// TLS cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
    /// Names cannot be resolved.
    #[error("cannot set up the DNS resolver")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// Others could put something into the blob cache.
    #[error("cannot use the directory of --blob-cache")]
    BlobDirectory(#[source] std::io::Error),
}

impl Puller {
    /// Sets up connections and caches. Dials nobody.
    pub(crate) fn new(settings: Settings) -> Result<Self, BuildError> {
        Self::with_clock(settings, Clock::default())
    }

    /// The same, by another clock.
    pub(super) fn with_clock(settings: Settings, clock: Clock) -> Result<Self, BuildError> {
        if let Some(directory) = &settings.blob_directory {
            directory.check().map_err(BuildError::BlobDirectory)?;
        }
        let dialer = Dialer::new(&settings)?;
        Ok(Self::over(Wire::new(dialer, settings, clock)))
    }

    /// One that goes out by `wire`.
    pub(super) fn over(wire: Wire) -> Self {
        let exchange = Arc::new(Exchange::new(Arc::new(wire)));
        let manifests = Arc::new(Manifests::new(Arc::clone(&exchange)));
        Self {
            lists: Lists::new(&exchange, &manifests),
            manifests,
            blobs: Arc::new(Blobs::new(Arc::clone(&exchange))),
            exchange,
        }
    }

    /// The counters to register.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.exchange.wire.metrics
    }

    /// Drops cached content that `scope` covers.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.manifests.purge(scope);
        self.lists.purge(scope);
        self.blobs.purge(scope);
    }

    /// A manifest that needs no upstream: a digest seen before, or a tag
    /// within its time to live. Takes no lock.
    pub(crate) fn fresh(
        &self,
        upstream: &Upstream,
        repository: &Repository,
        reference: &Reference,
    ) -> Option<Arc<Source>> {
        self.manifests.fresh(upstream, repository, reference)
    }

    /// A manifest, from the cache or from the upstream.
    pub(crate) async fn manifest(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Arc<Source>, Error> {
        self.manifests.get(upstream, repository, reference).await
    }

    /// A blob, or the part of it that the client asks for. `Content-Length`,
    /// `Content-Range`, `ETag` and the like are set; the status is 200, 206
    /// or 416.
    pub(crate) async fn blob(
        &self,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
    ) -> Result<http::Response<BlobBody>, Error> {
        blob::open(&self.blobs, upstream, request).await
    }

    /// The page of tags that the client's `query` asks for (`n`, `last`).
    pub(crate) async fn tags(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        query: Option<&str>,
    ) -> Result<Listed<TagsPage>, Error> {
        self.lists.tags(upstream, repository, query).await
    }

    /// The page of referrers of `digest` that the client's `query` asks for.
    pub(crate) async fn referrers(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        query: Option<&str>,
    ) -> Result<Listed<ReferrersPage>, Error> {
        self.lists
            .referrers(upstream, repository, digest, query)
            .await
    }
}
