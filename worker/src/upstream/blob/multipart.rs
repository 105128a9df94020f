//! Several parts of a blob in one answer: `multipart/byteranges` (RFC 9110,
//! section 14.6), as clients ask for those chunks of a layer that they lack.
//!
//! Such clients match the parts with what they have asked for by their order, so
//! parts are neither merged nor moved.

use std::{collections::VecDeque, future::poll_fn, ops::Range};

use bytes::{Buf as _, Bytes};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    Answer, BlobBody,
    cache::FileBody,
    range::{ContentRange, Span},
};
use crate::{reference::Digest, upstream::Error};

/// The most parts of one answer: what podman asks for at once.
const MOST_PARTS: usize = 1024;

/// Opens a range of the blob.
type Open = Box<dyn FnMut(Range<u64>) -> Result<BlobBody, Error> + Send>;

/// What becomes of several ranges.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// One of them is in the blob: it is answered as if it had come alone.
    Part(Range<u64>),
    /// They are answered with these parts of the blob.
    Parts(Vec<Range<u64>>),
    /// None of them is in the blob.
    Unsatisfiable,
    /// They are ignored: there are too many, or more bytes in them than in the
    /// blob, or they go back.
    Whole,
}

/// Parts of a blob on their way.
pub(super) struct Multipart {
    parts: VecDeque<Range<u64>>,
    total: u64,
    boundary: String,
    open: Open,
    /// How many bytes between two parts are read rather than skipped.
    gap: u64,
    /// The unread bytes of the current part.
    part: Option<Range<u64>>,
    reading: Option<BlobBody>,
    /// What has been read, from `position` of the blob on.
    read: Bytes,
    position: u64,
    is_first: bool,
    has_ended: bool,
}

impl Plan {
    pub(super) fn new(spans: &[Span], total: u64) -> Self {
        let parts = spans.iter().filter_map(|span| match span.within(total) {
            ContentRange::Part { first, last, .. } => Some(first..last + 1),
            ContentRange::None { .. } => None,
        });
        let parts: Vec<_> = parts.collect();
        let is_ascending = parts.is_sorted_by(|a, b| a.end <= b.start);
        match parts.len() {
            0 => Self::Unsatisfiable,
            1 => Self::Part(parts[0].clone()),
            2..=MOST_PARTS if is_ascending => Self::Parts(parts),
            _ => Self::Whole,
        }
    }
}

impl Multipart {
    /// The `parts`, which are opened by `open`: also what is between them, where
    /// that is no more than `gap` bytes.
    pub(super) fn new(parts: Vec<Range<u64>>, total: u64, gap: u64, open: Open) -> Self {
        Self {
            parts: parts.into(),
            total,
            boundary: format!("{:032x}", fastrand::u128(..)),
            open,
            gap,
            part: None,
            reading: None,
            read: Bytes::new(),
            position: 0,
            is_first: true,
            has_ended: false,
        }
    }

    /// The same, of which `reading` brings the bytes from `position` on.
    pub(super) fn begun(mut self, reading: BlobBody, position: u64) -> Self {
        (self.reading, self.position) = (Some(reading), position);
        self
    }

    /// The first range to request.
    pub(super) fn first(&self) -> Range<u64> {
        let begin = self.parts.front().map_or(0, |part| part.start);
        begin..self.end_of_group(begin)
    }

    /// The answer with all parts.
    pub(super) fn into_response(self, digest: &Digest) -> Response<BlobBody> {
        let length = self.length();
        let answer = Answer {
            status: StatusCode::PARTIAL_CONTENT,
            length: Some(length),
            range: None,
        };
        let mut response = answer.response(digest);
        let media_type = format!("multipart/byteranges; boundary={}", self.boundary);
        if let Ok(media_type) = HeaderValue::try_from(media_type) {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
        }
        let bytes = stream::try_unfold(self, |mut multipart| async {
            let next = multipart.next().await?;
            Ok(next.map(|bytes| (bytes, multipart)))
        });
        *response.body_mut() = FileBody::new(bytes, length).into();
        response
    }

    fn length(&self) -> u64 {
        let heads = self.parts.iter().enumerate().map(|(at, part)| {
            let head = self.head(part, at == 0);
            head.len() as u64 + (part.end - part.start)
        });
        heads.sum::<u64>() + self.tail().len() as u64
    }

    fn head(&self, part: &Range<u64>, is_first: bool) -> String {
        let range = ContentRange::Part {
            first: part.start,
            last: part.end - 1,
            total: Some(self.total),
        };
        format!(
            "{}--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: {range}\r\n\r\n",
            if is_first { "" } else { "\r\n" },
            self.boundary,
        )
    }

    fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(part) = self.part.take().filter(|part| !part.is_empty()) {
            if let Some(bytes) = self.cut(part.clone()) {
                let start = part.start + bytes.len() as u64;
                self.part = Some(start..part.end);
                return Ok(Some(bytes));
            }
            self.read_more(&part).await?;
            self.part = Some(part);
        }
        if let Some(part) = self.parts.pop_front() {
            let is_first = std::mem::take(&mut self.is_first);
            let head = self.head(&part, is_first);
            self.part = Some(part);
            return Ok(Some(head.into()));
        }
        let is_over = std::mem::replace(&mut self.has_ended, true);
        Ok((!is_over).then(|| self.tail().into()))
    }

    /// What has been read of `part`.
    fn cut(&mut self, part: Range<u64>) -> Option<Bytes> {
        let skip = self.up_to(part.start);
        self.read.advance(skip);
        self.position += skip as u64;
        let bytes = self.read.split_to(self.up_to(part.end));
        self.position += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes)
    }

    /// How many of the bytes that have been read come before `end`.
    fn up_to(&self, end: u64) -> usize {
        let length = end.saturating_sub(self.position);
        usize::try_from(length).map_or(self.read.len(), |length| length.min(self.read.len()))
    }

    async fn read_more(&mut self, part: &Range<u64>) -> Result<(), Error> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                let end = self.end_of_group(part.end);
                self.position = part.start;
                self.reading.insert((self.open)(part.start..end)?)
            }
        };
        match poll_fn(|cx| reading.poll_bytes(cx)).await {
            Some(bytes) => self.read = bytes?,
            None => self.reading = None,
        }
        Ok(())
    }

    /// Where to read to, from before `end` on.
    fn end_of_group(&self, end: u64) -> u64 {
        let parts = self.parts.iter();
        parts.fold(end, |end, part| {
            match part.start <= end.saturating_add(self.gap) {
                true => part.end,
                false => end,
            }
        })
    }
}
