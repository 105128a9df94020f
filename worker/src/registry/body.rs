//! The body of an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    auth::Place,
    upstream::{BlobBody, BlobError},
};

/// Bytes at hand, or a blob on its way.
#[derive(Debug)]
pub(crate) enum Body {
    /// What is left of bytes at hand.
    Whole(Bytes),
    /// A blob that streams in from its upstream, and the place that it takes
    /// among the open requests of its login.
    Blob {
        blob: Pin<Box<BlobBody>>,
        _place: Option<Place>,
    },
}

impl Body {
    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// Keeps `place` until the body has ended, if that takes time.
    pub(crate) fn keep(self, place: Option<Place>) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes),
            Self::Blob { blob, .. } => Self::Blob {
                blob,
                _place: place,
            },
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Blob { blob, .. } => blob.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Blob { blob, .. } => blob.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Blob { blob, .. } => blob.size_hint(),
        }
    }
}
