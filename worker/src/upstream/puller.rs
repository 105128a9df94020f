//! The one way to the upstreams.

use std::sync::Arc;

use super::{
    BlobBody, BlobRequest, Error, Metrics, ReferrersPage, Settings, Source, TagsPage, Upstream,
};
use crate::reference::{Digest, Reference, Repository};

/// Fetches, checks, caches and streams what upstreams have. One per worker.
#[derive(Debug)]
pub(crate) struct Puller {
    metrics: Metrics,
}

/// Why a [`Puller`] cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BuildError {
    /// TLS or DNS cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

impl Puller {
    /// Sets up connections and caches. Dials nobody.
    pub(crate) fn new(_settings: Settings) -> Result<Self, BuildError> {
        Ok(Self {
            metrics: Metrics::default(),
        })
    }

    /// The counters to register.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A manifest that needs no upstream: a digest seen before, or a tag
    /// within its time to live. Takes no lock.
    pub(crate) fn fresh(
        &self,
        _upstream: &Upstream,
        _repository: &Repository,
        _reference: &Reference,
    ) -> Option<Arc<Source>> {
        None
    }

    /// A manifest, from the cache or from the upstream.
    pub(crate) async fn manifest(
        &self,
        upstream: &Arc<Upstream>,
        _repository: &Repository,
        _reference: &Reference,
    ) -> Result<Arc<Source>, Error> {
        Err(not_found(upstream))
    }

    /// A blob, or the part of it that the client asks for. `Content-Length`,
    /// `Content-Range`, `ETag` and the like are set; the status is 200, 206
    /// or 416.
    pub(crate) async fn blob(
        &self,
        upstream: &Arc<Upstream>,
        _request: BlobRequest<'_>,
    ) -> Result<http::Response<BlobBody>, Error> {
        Err(not_found(upstream))
    }

    /// The page of tags that the client's `query` asks for (`n`, `last`).
    pub(crate) async fn tags(
        &self,
        upstream: &Arc<Upstream>,
        _repository: &Repository,
        _query: Option<&str>,
    ) -> Result<TagsPage, Error> {
        Err(not_found(upstream))
    }

    /// The page of referrers of `digest` that the client's `query` asks for.
    pub(crate) async fn referrers(
        &self,
        upstream: &Arc<Upstream>,
        _repository: &Repository,
        _digest: &Digest,
        _query: Option<&str>,
    ) -> Result<ReferrersPage, Error> {
        Err(not_found(upstream))
    }
}

fn not_found(upstream: &Upstream) -> Error {
    Error::NotFound {
        upstream: upstream.name.clone(),
    }
}
