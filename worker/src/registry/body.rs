//! The body of an answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tracing::info;

use super::permission::Permission;
use crate::{
    auth::Place,
    upstream::{BlobBody, BlobError},
};

/// Bytes at hand, or a blob on its way.
#[derive(Debug)]
pub(crate) enum Body {
    /// What is left of bytes at hand.
    Whole(Bytes),
    /// A blob on its way.
    Blob(Box<PermittedBlob>),
}

/// A blob that streams in from its upstream, for a client that may have it.
#[derive(Debug)]
pub(crate) struct PermittedBlob {
    blob: BlobBody,
    permission: Permission,
    /// The place that it takes among the open requests of its login.
    place: Option<Place>,
}

/// Why a body breaks off. The connection to the client has to break, too.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The blob does not go on, or is not what it should be.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Its login, its grant or its upstream is gone.
    #[error("the client may no longer have the blob")]
    Revoked,
}

impl Body {
    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// A blob, for as long as there is `permission`.
    pub(super) fn blob(blob: BlobBody, permission: Permission) -> Self {
        Self::Blob(Box::new(PermittedBlob {
            blob,
            permission,
            place: None,
        }))
    }

    /// Keeps `place` until the body has ended, if that takes time.
    pub(crate) fn keep(mut self, place: Option<Place>) -> Self {
        if let Self::Blob(blob) = &mut self {
            blob.place = place;
        }
        self
    }
}

impl PermittedBlob {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.permission.has_ended() {
            let frame = Pin::new(&mut self.blob).poll_frame(context);
            if let Poll::Ready(frame) = frame {
                return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Blob)));
            }
            ready!(self.permission.poll_ended(context));
        }
        info!(
            "a transfer breaks off: {} is no longer allowed",
            self.permission
        );
        // Now: nothing is read for a client that gets nothing.
        self.blob = BlobBody::default();
        Poll::Ready(Some(Err(BodyError::Revoked)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Blob(blob) => blob.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Blob(blob) => blob.blob.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Blob(blob) => blob.blob.size_hint(),
        }
    }
}
