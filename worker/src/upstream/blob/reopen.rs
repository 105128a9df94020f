//! Taking up a blob where it broke off.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{BlobRequest, range::ContentRange};
use crate::{
    reference::{Digest, Repository},
    upstream::{
        Error, Upstream, Why,
        exchange::{Ask, Exchange},
        metrics::{Kind, Metrics},
        weather::unavailable,
    },
};

/// The most times in a row that a blob is taken up without getting anywhere.
const MAX_TRIES: u32 = 5;
/// What counts as getting somewhere, in bytes.
const PROGRESS: u64 = 1 << 20;
/// The pause before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// All that it takes to ask for the rest of a blob.
#[derive(Debug)]
pub(super) struct Reopen {
    exchange: Arc<Exchange>,
    upstream: Arc<Upstream>,
    repository: Repository,
    digest: Digest,
    tries: u32,
    /// Where the blob broke off last.
    broken_at: u64,
}

/// The rest of a blob.
pub(super) struct Rest {
    pub(super) body: reqwest::Body,
    /// What comes before the rest, since the upstream does not know ranges.
    pub(super) skip: u64,
}

/// A [`Rest`] on its way.
pub(super) type Opening = BoxFuture<'static, Result<Rest, Error>>;

impl Reopen {
    pub(super) fn new(
        exchange: &Arc<Exchange>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
    ) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            upstream: Arc::clone(upstream),
            repository: request.repository.clone(),
            digest: request.digest.clone(),
            tries: 0,
            broken_at: 0,
        }
    }

    /// The same, for another reading of the blob.
    pub(super) fn again(&self) -> Self {
        Self {
            exchange: Arc::clone(&self.exchange),
            upstream: Arc::clone(&self.upstream),
            repository: self.repository.clone(),
            digest: self.digest.clone(),
            tries: 0,
            broken_at: 0,
        }
    }

    /// Asks for the bytes from `position` on, up to but without `end`, with the
    /// password that the upstream has now. Fails when that has been tried often
    /// enough.
    pub(super) fn open(&mut self, position: u64, end: Option<u64>) -> Result<Opening, Error> {
        if position - self.broken_at >= PROGRESS {
            self.tries = 0;
        }
        if self.tries == MAX_TRIES {
            return Err(self.given_up());
        }
        let pause = match self.tries {
            0 => Duration::ZERO,
            tries => PAUSE * (1 << (tries - 1)),
        };
        self.tries += 1;
        self.broken_at = position;
        self.metrics().blob_resumes.inc();
        let range = match end {
            Some(end) => format!("bytes={position}-{}", end - 1),
            None => format!("bytes={position}-"),
        };
        let exchange = Arc::clone(&self.exchange);
        let upstream = self.exchange.wire.settings.roster.now(&self.upstream);
        let (repository, path) = (self.repository.clone(), format!("blobs/{}", self.digest));
        let opening = async move {
            tokio::time::sleep(pause).await;
            let range = HeaderValue::try_from(range)
                .ok()
                .map(|r| (header::RANGE, r));
            let ask = Ask {
                upstream: &upstream,
                repository: &repository,
                kind: Kind::Blob,
                method: Method::GET,
                path,
                query: None,
                headers: HeaderMap::from_iter(range),
                hand_over: None,
            };
            let reply = exchange.ask(&ask).await?;
            Rest::read(&upstream, reply.response, position)
        };
        Ok(opening.boxed())
    }

    /// The error for a blob that cannot be had.
    pub(super) fn given_up(&self) -> Error {
        unavailable(&self.upstream, Why::Broken, None)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.exchange.wire.metrics
    }

    /// Fails when so many bytes are more than a blob may have.
    pub(super) fn check_length(&self, length: u64) -> Result<(), Error> {
        self.exchange.check_length(&self.upstream, length)
    }

    pub(super) fn stall_timeout(&self) -> Duration {
        self.exchange.wire.settings.stall_timeout
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }
}

impl Rest {
    fn read(
        upstream: &Upstream,
        response: reqwest::Response,
        position: u64,
    ) -> Result<Self, Error> {
        let range = ContentRange::read(response.headers());
        let skip = match (response.status(), range) {
            (StatusCode::OK, _) => position,
            (StatusCode::PARTIAL_CONTENT, Some(ContentRange::Part { first, .. }))
                if first == position =>
            {
                0
            }
            _ => {
                return Err(Error::BadAnswer {
                    upstream: upstream.name.clone(),
                    what: "the wrong part of a blob",
                });
            }
        };
        let body = http::Response::from(response).into_body();
        Ok(Self { body, skip })
    }
}
