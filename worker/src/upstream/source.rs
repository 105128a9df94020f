//! A manifest or index as an upstream serves it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::ETAG};
use metahub_policy::{Index, InvalidIndex};

use super::{Error, warnings::upstream_warnings};
use crate::reference::Digest;

/// A manifest whose bytes hash to its digest. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The exact bytes.
    pub(crate) bytes: Bytes,
    /// Its media type, without parameters.
    pub(crate) media_type: HeaderValue,
    /// Its digest.
    pub(crate) digest: Digest,
    /// The upstream's `ETag` of it.
    pub(crate) etag: Option<HeaderValue>,
    /// The upstream's warnings about it, for clients.
    pub(crate) warnings: Arc<[HeaderValue]>,
    /// Set when the upstream could not be asked whether the tag still means
    /// this.
    pub(crate) stale: Option<Stale>,
    index: Arc<OnceLock<Result<Option<Index>, InvalidIndex>>>,
}

/// Why a tag is answered without asking its upstream.
#[derive(Clone, Debug)]
pub(crate) struct Stale {
    /// When the upstream last confirmed the tag.
    pub(crate) confirmed: Instant,
    /// What went wrong since.
    pub(crate) why: Error,
}

impl Source {
    /// A manifest that has been checked.
    pub(crate) fn new(bytes: Bytes, media_type: HeaderValue, digest: Digest) -> Self {
        Self {
            bytes,
            media_type,
            digest,
            etag: None,
            warnings: Arc::default(),
            stale: None,
            index: Arc::default(),
        }
    }

    /// The same manifest, with what else the upstream says about it.
    pub(crate) fn with_headers(self, headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(ETAG).cloned(),
            warnings: upstream_warnings(headers).into(),
            ..self
        }
    }

    /// The same manifest, stale or not.
    pub(crate) fn with_stale(&self, stale: Option<Stale>) -> Self {
        Self {
            stale,
            ..self.clone()
        }
    }

    /// The index in it; None when it is a single manifest. Read once, at the
    /// first call.
    pub(crate) fn index(&self) -> Result<Option<&Index>, &InvalidIndex> {
        let parsed = self.index.get_or_init(|| {
            let media_type = self.media_type.to_str().unwrap_or_default();
            metahub_policy::is_index_media_type(media_type)
                .then(|| Index::parse(&self.bytes))
                .transpose()
        });
        parsed.as_ref().map(Option::as_ref)
    }
}

impl Stale {
    /// How long ago the upstream last confirmed the tag.
    pub(crate) fn age(&self) -> Duration {
        self.confirmed.elapsed()
    }
}
