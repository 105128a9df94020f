//! The body of a blob.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    cache::FileBody,
    feed::{Next, Seat},
    transfer::Transfer,
};
use crate::upstream::Error;

/// A blob on its way: ends cleanly only when all of it has come and hashes to
/// its digest. Dropping it leaves the upstream's connection, unless others
/// share it.
#[derive(Debug, Default)]
pub(crate) struct BlobBody(Origin);

/// Why a blob broke off. The connection to the client has to break too.
#[derive(Debug, thiserror::Error)]
#[error("the blob broke off")]
pub(crate) struct BlobError(#[from] pub(crate) Error);

/// Where the bytes come from.
#[derive(Debug, Default)]
enum Origin {
    /// There are none, or no more.
    #[default]
    Nowhere,
    /// A reading of its own.
    Transfer(Box<Transfer>),
    /// A reading that others share.
    Feed(Seat),
    /// A file.
    File(FileBody),
}

impl BlobBody {
    /// The next bytes; None after the last, if all are right.
    pub(super) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let seat = match &mut self.0 {
                Origin::Nowhere => return Poll::Ready(None),
                Origin::Transfer(transfer) => return transfer.poll_bytes(cx),
                Origin::File(file) => return file.poll_bytes(cx),
                Origin::Feed(seat) => seat,
            };
            let ended = match ready!(seat.poll_next(cx)) {
                Next::Bytes(bytes) => return Poll::Ready(Some(Ok(bytes))),
                // Too slow for the others: goes on alone.
                Next::CutOff(cut) => match seat.feed().resume(cut) {
                    Ok(transfer) => {
                        self.0 = Origin::Transfer(Box::new(transfer));
                        continue;
                    }
                    Err(error) => Some(Err(error)),
                },
                Next::Ended(Ok(())) => None,
                Next::Ended(Err(error)) => Some(Err(error)),
            };
            self.0 = Origin::Nowhere;
            return Poll::Ready(ended);
        }
    }
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        let bytes = ready!(self.poll_bytes(cx));
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data).map_err(BlobError)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Origin::Nowhere => true,
            Origin::Transfer(transfer) => transfer.is_ended(),
            Origin::File(file) => file.remaining() == 0,
            Origin::Feed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = match &self.0 {
            Origin::Nowhere => Some(0),
            Origin::Transfer(transfer) => transfer.remaining(),
            Origin::File(file) => Some(file.remaining()),
            Origin::Feed(seat) => Some(seat.remaining()),
        };
        remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl From<Transfer> for BlobBody {
    fn from(transfer: Transfer) -> Self {
        Self(Origin::Transfer(Box::new(transfer)))
    }
}

impl From<FileBody> for BlobBody {
    fn from(file: FileBody) -> Self {
        Self(Origin::File(file))
    }
}

impl From<Seat> for BlobBody {
    fn from(seat: Seat) -> Self {
        Self(Origin::Feed(seat))
    }
}
