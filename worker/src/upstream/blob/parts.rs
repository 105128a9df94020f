//! Several parts of a blob that is not on disk.

use std::{ops::Range, sync::Arc};

use http::{HeaderValue, Response, StatusCode};

use super::{
    Answer, BlobBody, BlobRequest, Blobs,
    cache::Outcome,
    held::unsatisfiable,
    known::Key,
    multipart::{Multipart, Plan},
    range::{ContentRange, Span},
    reopen::Reopen,
    transfer::Transfer,
};
use crate::upstream::{Error, Upstream};

/// The largest gap between two parts, in bytes, that one request reads through.
/// Reading it takes about as long as another request.
const GAP: u64 = 1 << 20;

impl Blobs {
    /// The parts that are asked for, one after the other: upstreams, and the
    /// object stores that they lead to, rarely know several ranges at once. One
    /// that knows none sends the blob once, of which the rest is left out. None:
    /// the ranges are to be ignored.
    pub(super) async fn ask_for_parts(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        request: BlobRequest<'_>,
        key: &Key,
        spans: &[Span],
    ) -> Result<Option<Response<BlobBody>>, Error> {
        let Some(total) = self.vouched(upstream, key).await? else {
            return Ok(None);
        };
        let parts = match Plan::new(spans, total) {
            Plan::Parts(parts) => parts,
            Plan::Part(part) => {
                let single = HeaderValue::try_from(range_of(&part)).ok();
                let request = BlobRequest {
                    range: single.as_ref(),
                    ..request
                };
                let answer = self.ask_alone(upstream, request, key, None).await;
                return answer.map(Some);
            }
            Plan::Unsatisfiable => return Ok(Some(unsatisfiable(total).response(request.digest))),
            Plan::Whole => return Ok(None),
        };
        let reopen = Reopen::new(&self.exchange, upstream, request);
        let first_reopen = reopen.again();
        let open = move |part: Range<u64>| {
            let transfer = Transfer::resumed(reopen.again(), part.start, part.end, None);
            transfer.map(BlobBody::from)
        };
        let multipart = Multipart::new(parts, total, GAP, Box::new(open));
        let first = multipart.first();
        let ask = request.ask(upstream, HeaderValue::try_from(range_of(&first)).ok());
        let reply = self.exchange.ask_patiently(&ask).await?;
        let Ok(answer) = Answer::read(upstream, &reply, true) else {
            return Ok(None);
        };
        let position = match (answer.status, answer.range) {
            (StatusCode::OK, _) if answer.length == Some(total) => 0,
            (
                StatusCode::PARTIAL_CONTENT,
                Some(ContentRange::Part {
                    first: at, last, ..
                }),
            ) if (at, last + 1) == (first.start, first.end) => at,
            _ => return Ok(None),
        };
        self.count(Outcome::Miss);
        let transfer = answer.transfer(reply, first_reopen, request.digest);
        let multipart = multipart.begun(transfer.into(), position);
        Ok(Some(multipart.into_response(request.digest)))
    }
}

fn range_of(part: &Range<u64>) -> String {
    format!("bytes={}-{}", part.start, part.end - 1)
}
