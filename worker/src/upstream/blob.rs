//! Blobs, passed through while they are verified.
//!
//! Whole blobs that several clients want at the same time are read once. Nothing
//! of a blob is kept for longer than that takes, unless there is a directory to
//! keep blobs in. What a client sees of an upstream's answer is its status, its
//! length and its bytes; the other headers are the worker's.

mod body;
mod cache;
mod feed;
mod held;
mod known;
mod multipart;
mod parts;
pub(super) mod range;
mod reopen;
mod ring;
mod sharing;
mod transfer;
mod vouching;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use url::Url;

pub(crate) use self::body::{BlobBody, BlobError};
#[cfg(test)]
pub(crate) use self::cache::Cause;
pub(crate) use self::cache::{BlobDirectory, CacheMetrics, Outcome};
pub(crate) use self::sharing::Blobs;
use self::{
    known::Key,
    range::{ContentRange, Span},
    reopen::Reopen,
    transfer::Transfer,
};
use super::{Error, Upstream, exchange::Ask, hash::is_digest_of, metrics::Kind, wire::Reply};
use crate::reference::{Digest, Repository};

/// A client's request for a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobRequest<'a> {
    /// The repository at the upstream.
    pub(crate) repository: &'a Repository,
    /// The blob.
    pub(crate) digest: &'a Digest,
    /// `GET` or `HEAD`.
    pub(crate) method: &'a Method,
    /// The client's `Range`.
    pub(crate) range: Option<&'a HeaderValue>,
    /// The client's `If-Range`.
    pub(crate) if_range: Option<&'a HeaderValue>,
    /// The host that the client has sent this to, where it is known.
    pub(crate) host: Option<&'a str>,
}

/// Opens a blob, or the part of it that `request` is for.
pub(crate) async fn open(
    blobs: &Arc<Blobs>,
    upstream: &Arc<Upstream>,
    request: BlobRequest<'_>,
) -> Result<Response<BlobBody>, Error> {
    let key = Key::new(upstream, &request);
    let opened = blobs.open(upstream, request, &key).await;
    if opened.as_ref().is_err_and(Error::is_final) {
        blobs.known.forget(&key);
    }
    opened
}

impl Blobs {
    async fn open(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        key: &Key,
    ) -> Result<Response<BlobBody>, Error> {
        let is_head = request.method == Method::HEAD;
        let hand_over = request
            .host
            .filter(|_| upstream.hands_over_blobs() && !self.known.is_unredirected(key));
        if (is_head || hand_over.is_none())
            && let Some(response) = self.from_disk(upstream, request, key).await?
        {
            return Ok(response);
        }
        if is_head {
            return self.head(upstream, request, key).await;
        }
        if let Some(spans) = request.several().filter(|_| hand_over.is_none())
            && let Some(response) = self.ask_for_parts(upstream, request, key, &spans).await?
        {
            return Ok(response);
        }
        if self.is_shared(request, hand_over)
            && let Some(response) = self.share(upstream, request, hand_over).await?
        {
            return Ok(response);
        }
        self.ask_alone(upstream, request, key, hand_over).await
    }

    /// Whether to look for company: for the whole blob always, for its
    /// beginning where the rest is kept for those who want that.
    fn is_shared(&self, request: BlobRequest<'_>, hand_over: Option<&str>) -> bool {
        match request.span() {
            None => true,
            Some(span) => hand_over.is_none() && self.keeps() && span.is_from_start(),
        }
    }

    async fn ask_alone(
        &self,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        key: &Key,
        hand_over: Option<&str>,
    ) -> Result<Response<BlobBody>, Error> {
        let range = request.honoured_range();
        let is_ranged = range.is_some();
        let ask = Ask {
            hand_over,
            ..request.ask(upstream, range)
        };
        let reply = self.exchange.ask_patiently(&ask).await?;
        if let Some(place) = &reply.handed_over {
            return Ok(elsewhere(place));
        }
        let answer = match Answer::read(upstream, &reply, is_ranged) {
            Ok(answer) if request.is_answered_by(&answer) => answer,
            // Not the part that was asked for: all of it has no doubt about it.
            Ok(_) | Err(_) if is_ranged => {
                let whole = BlobRequest {
                    range: None,
                    ..request
                };
                let asking = self.ask_alone(upstream, whole, key, hand_over);
                return Box::pin(asking).await;
            }
            answer => answer?,
        };
        if let Some(length) = answer.total() {
            self.exchange.check_length(upstream, length)?;
            self.known.learn(key, length);
        }
        self.count(Outcome::Miss);
        let mut response = answer.response(request.digest);
        if answer.status != StatusCode::RANGE_NOT_SATISFIABLE {
            let reopen = Reopen::new(&self.exchange, upstream, request);
            *response.body_mut() = answer.transfer(reply, reopen, request.digest).into();
        }
        Ok(response)
    }
}

/// Sends the client to where the upstream would have it fetched. Never kept:
/// what is signed is good for minutes.
fn elsewhere(place: &Url) -> Response<BlobBody> {
    let mut response = Response::new(BlobBody::default());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let location = HeaderValue::from_str(place.as_str()).expect("a URL is ASCII without blanks");
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl<'r> BlobRequest<'r> {
    /// All of a blob, for nobody in particular.
    fn whole(key: &'r Key) -> Self {
        Self {
            repository: key.repository(),
            digest: &key.digest,
            method: &Method::GET,
            range: None,
            if_range: None,
            host: None,
        }
    }

    fn ask<'a>(&'a self, upstream: &'a Arc<Upstream>, range: Option<HeaderValue>) -> Ask<'a> {
        let range = range.map(|range| (header::RANGE, range));
        Ask {
            upstream,
            repository: self.repository,
            kind: Kind::Blob,
            method: self.method.clone(),
            path: format!("blobs/{}", self.digest),
            query: None,
            headers: HeaderMap::from_iter(range),
            hand_over: None,
        }
    }

    /// The `Range`, unless it is bound to other content, or the blob is empty and
    /// has no parts: then the client gets the whole blob.
    fn current_range(&self) -> Option<&'r HeaderValue> {
        let is_current = self
            .if_range
            .is_none_or(|tag| tag.as_bytes() == entity_tag(self.digest).as_bytes());
        self.range
            .filter(|_| is_current && !is_digest_of(self.digest, b""))
    }

    /// The `Range` to forward, if it is a single one.
    fn honoured_range(&self) -> Option<HeaderValue> {
        let range = self.current_range()?;
        Span::read(range).is_some().then(|| range.clone())
    }

    /// The parts that are asked for, if they are several.
    fn several(&self) -> Option<Vec<Span>> {
        Span::read_several(self.current_range()?)
    }

    fn is_answered_by(&self, answer: &Answer) -> bool {
        let (span, range) = (self.span(), answer.range);
        span.zip(range)
            .is_none_or(|(span, range)| span.is_answered_by(range))
    }

    /// The part that is asked for. None: all of it.
    fn span(&self) -> Option<Span> {
        Span::read(&self.honoured_range()?)
    }
}

/// What an upstream's headers promise about a blob.
#[derive(Clone, Copy, Debug)]
struct Answer {
    status: StatusCode,
    /// The length of this answer's body, in bytes.
    length: Option<u64>,
    /// Which part it is; of 416, how long the blob is.
    range: Option<ContentRange>,
}

impl Answer {
    fn read(upstream: &Upstream, reply: &Reply, is_ranged: bool) -> Result<Self, Error> {
        let wrong = |what| Error::BadAnswer {
            upstream: upstream.name.clone(),
            what,
        };
        let headers = reply.response.headers();
        if headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|encoding| encoding != "identity")
        {
            return Err(wrong("an encoded blob"));
        }
        let status = reply.response.status();
        let range = ContentRange::read(headers);
        let length = content_length(headers);
        let is_good = match (status, range) {
            (StatusCode::OK, _) => true,
            (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                is_ranged
                    && range
                        .length()
                        .is_some_and(|l| length.is_none_or(|h| h == l))
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => is_ranged,
            _ => false,
        };
        if !is_good {
            return Err(wrong("a status and a range that do not fit the request"));
        }
        let range = range.filter(|_| status != StatusCode::OK);
        Ok(Self {
            status,
            length: range.and_then(ContentRange::length).or(length),
            range,
        })
    }

    /// The same about the whole blob.
    fn whole(self) -> Self {
        let length = match self.range {
            Some(ContentRange::None { total }) => Some(total),
            _ => self.total(),
        };
        Self {
            status: StatusCode::OK,
            length,
            range: None,
        }
    }

    /// How long the blob is.
    fn total(&self) -> Option<u64> {
        match self.range {
            None => self.length,
            Some(ContentRange::Part { total, .. }) => total,
            Some(ContentRange::None { .. }) => None,
        }
    }

    /// The worker's own headers about it.
    fn response(&self, digest: &Digest) -> Response<BlobBody> {
        let mut response = Response::new(BlobBody::default());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let value = |text: &str| {
            HeaderValue::from_str(text).expect("a digest or a number makes a header value")
        };
        if let Some(range) = self.range {
            headers.insert(header::CONTENT_RANGE, value(&range.to_string()));
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            return response;
        }
        if let Some(length) = self.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        headers.insert(header::ETAG, value(&entity_tag(digest)));
        headers.insert("docker-content-digest", value(digest.as_str()));
        response
    }

    fn transfer(&self, reply: Reply, reopen: Reopen, digest: &Digest) -> Transfer {
        let body = http::Response::from(reply.response).into_body();
        match self.range {
            Some(ContentRange::Part { first, last, total }) => {
                let is_whole = first == 0 && total == Some(last + 1);
                let promised = is_whole.then(|| digest.clone());
                Transfer::new(body, reopen, first, Some(last + 1)).verified(promised)
            }
            _ => Transfer::new(body, reopen, 0, self.length).verified(Some(digest.clone())),
        }
    }
}

/// Of the header: a HEAD's answer has no body to measure.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    value.parse().ok()
}

fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}
