//! Asking an upstream whether a repository has a blob.

use std::sync::Arc;

use http::{HeaderValue, Method, Response};

use super::{Answer, BlobBody, BlobRequest, Blobs, known::Key};
use crate::upstream::{
    Error, Upstream, Why,
    exchange::{Ask, Exchange},
    metrics::Kind,
    weather::unavailable,
};

/// The part of a blob that is asked for where `HEAD` does not tell.
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

impl Blobs {
    /// Answers a HEAD by asking the upstream.
    pub(super) async fn head(
        &self,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        key: &Key,
    ) -> Result<Response<BlobBody>, Error> {
        let answer = head(&self.exchange, upstream, request, Manner::Patient).await?;
        if let Some(length) = answer.length {
            self.known.learn(key, length);
        }
        Ok(answer.response(request.digest))
    }

    /// The length of a blob that the upstream says, or has said, to be in the
    /// repository. None: it does not say how long it is. With the upstream
    /// down, what it has said before holds.
    pub(super) async fn vouched(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        key: &Key,
    ) -> Result<Option<u64>, Error> {
        let fact = self.known.get(key);
        if let Some(fact) = fact.filter(|fact| self.known.is_fresh(fact)) {
            return Ok(Some(fact.length));
        }
        // Who has something to fall back on need not wait for better weather.
        let manner = match fact {
            Some(_) => Manner::Impatient,
            None => Manner::Patient,
        };
        let (blobs, its_upstream) = (Arc::clone(self), Arc::clone(upstream));
        let ticket = self.vouching.board(key.clone(), || {
            let key = key.clone();
            async move { blobs.ask_whether(&its_upstream, &key, manner).await }
        });
        let crashed = || Err(unavailable(upstream, Why::Internal, None));
        match (ticket.landed().await.unwrap_or_else(crashed), fact) {
            (Err(error), Some(fact)) if error.is_weather() => {
                self.known.prolong(key, fact);
                Ok(Some(fact.length))
            }
            (Err(Error::BadAnswer { .. }), _) => Ok(None),
            (outcome, _) => outcome,
        }
    }

    async fn ask_whether(
        &self,
        upstream: &Arc<Upstream>,
        key: &Key,
        manner: Manner,
    ) -> Result<Option<u64>, Error> {
        let request = BlobRequest {
            method: &Method::HEAD,
            ..BlobRequest::whole(key)
        };
        let length = head(&self.exchange, upstream, request, manner)
            .await?
            .length;
        if let Some(length) = length {
            self.known.learn(key, length);
        }
        Ok(length)
    }
}

/// Whether to wait for an upstream that is unwell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Patient,
    Impatient,
}

/// Asks by `HEAD`, and settles by `GET` of the first byte what that denies: some
/// redirect a `HEAD` to an address that is signed for `GET` alone, some know
/// `HEAD` only of what they have at hand.
async fn head(
    exchange: &Exchange,
    upstream: &Arc<Upstream>,
    request: BlobRequest<'_>,
    manner: Manner,
) -> Result<Answer, Error> {
    let (heads, repository) = (&exchange.heads, request.repository);
    let mut is_denied = false;
    if heads.is_reliable(upstream, repository, Kind::Blob) {
        match exchange.ask(&request.ask(upstream, None)).await {
            Ok(reply) => return Answer::read(upstream, &reply, false),
            Err(error) if error.is_for_get_to_settle() => is_denied = true,
            Err(error) if manner == Manner::Impatient => return Err(error),
            Err(_) => {}
        }
    }
    let get = Ask {
        method: Method::GET,
        ..request.ask(upstream, Some(FIRST_BYTE))
    };
    let reply = match manner {
        Manner::Patient => exchange.ask_patiently(&get).await?,
        Manner::Impatient => exchange.ask(&get).await?,
    };
    let answer = Answer::read(upstream, &reply, true)?;
    if is_denied {
        heads.note_unreliable(upstream, repository, Kind::Blob);
    }
    Ok(answer.whole())
}
