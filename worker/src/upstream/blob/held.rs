//! Blobs from the disk, for those who may have them.

use std::{ops::Range, sync::Arc};

use http::{Method, Response, StatusCode};

use super::{
    Answer, BlobBody, BlobRequest, Blobs,
    cache::{BlobCache, Held, Outcome, Reading},
    known::Key,
    multipart::{Multipart, Plan},
    range::{ContentRange, Span},
    reopen::Reopen,
};
use crate::upstream::{Error, Upstream};

/// How far beyond the end of a growing file a part may begin that is waited
/// for, in bytes. What is further away is asked for separately.
const NEAR: u64 = 8 << 20;

impl Blobs {
    /// What the client asks for, if it is on disk and the repository has it.
    pub(super) async fn from_disk(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        key: &Key,
    ) -> Result<Option<Response<BlobBody>>, Error> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let Some(held) = cache.find(request.digest, key.origin).await else {
            return Ok(None);
        };
        // Not before the upstream has said that it would give it, too.
        match self.vouched(upstream, key).await? {
            Some(length) if length == held.length => {}
            // One of them is wrong. An upstream that is must not take away what
            // others have.
            Some(_) if held.is_whole() => {
                cache.doubt(request.digest, &held);
                return Ok(None);
            }
            _ => return Ok(None),
        }
        if request.method == Method::HEAD {
            return Ok(Some(whole(held.length).response(request.digest)));
        }
        let (outcome, response) = (outcome(&held), self.read(cache, upstream, request, held));
        if response.is_some() {
            cache.metrics.answered(outcome);
        }
        Ok(response)
    }

    /// What the client asks for, from its file. None: it would have to wait for
    /// too long.
    pub(super) fn read(
        &self,
        cache: &Arc<BlobCache>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        held: Held,
    ) -> Option<Response<BlobBody>> {
        let (answer, part) = match request.span() {
            None if let Some(spans) = request.several() => match Plan::new(&spans, held.length) {
                Plan::Parts(parts) => {
                    return self.read_parts(cache, upstream, request, (held, parts));
                }
                Plan::Part(part) => part_of(Span::Between(part.start, part.end - 1), held.length),
                Plan::Unsatisfiable => (unsatisfiable(held.length), 0..0),
                Plan::Whole => (whole(held.length), 0..held.length),
            },
            None => (whole(held.length), 0..held.length),
            Some(span) => part_of(span, held.length),
        };
        if part.start > held.written() + NEAR {
            return None;
        }
        let mut response = answer.response(request.digest);
        if !part.is_empty() {
            let reopen = Reopen::new(&self.exchange, upstream, request);
            let reading = Reading::new(cache, held, request.digest, reopen, part);
            *response.body_mut() = reading.into_body().into();
        }
        Some(response)
    }
}

impl Blobs {
    /// The same for several parts, each read when its turn has come.
    fn read_parts(
        &self,
        cache: &Arc<BlobCache>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        (held, parts): (Held, Vec<Range<u64>>),
    ) -> Option<Response<BlobBody>> {
        let is_far = |part: &Range<u64>| part.start > held.written() + NEAR;
        if parts.last().is_some_and(is_far) {
            return None;
        }
        let reopen = Reopen::new(&self.exchange, upstream, request);
        let (cache, digest) = (Arc::clone(cache), request.digest.clone());
        let total = held.length;
        let open = move |part| {
            let reading = Reading::new(&cache, held.clone(), &digest, reopen.again(), part);
            Ok(reading.into_body().into())
        };
        let multipart = Multipart::new(parts, total, 0, Box::new(open));
        Some(multipart.into_response(request.digest))
    }
}

/// The answer to ranges of which a blob of `total` bytes has none.
pub(super) fn unsatisfiable(total: u64) -> Answer {
    Answer {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        length: None,
        range: Some(ContentRange::None { total }),
    }
}

fn outcome(held: &Held) -> Outcome {
    if held.is_whole() {
        Outcome::Hit
    } else {
        Outcome::Join
    }
}

fn whole(length: u64) -> Answer {
    Answer {
        status: StatusCode::OK,
        length: Some(length),
        range: None,
    }
}

/// The answer that has `span` of a blob of `total` bytes, and where that is.
fn part_of(span: Span, total: u64) -> (Answer, Range<u64>) {
    let range = span.within(total);
    let (status, part) = match range {
        ContentRange::Part { first, last, .. } => (StatusCode::PARTIAL_CONTENT, first..last + 1),
        ContentRange::None { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0),
    };
    let answer = Answer {
        status,
        length: range.length(),
        range: Some(range),
    };
    (answer, part)
}
