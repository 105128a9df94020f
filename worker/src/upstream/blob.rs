//! Blobs, passed through while they are verified.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body::{Body, Frame};

use super::Error;
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
}

/// A blob on its way: ends cleanly only when all of it has come and hashes to
/// its digest.
#[derive(Debug, Default)]
pub(crate) struct BlobBody {}

/// Why a blob broke off.
#[derive(Debug, thiserror::Error)]
#[error("the blob broke off")]
pub(crate) struct BlobError(#[from] pub(crate) Error);

impl Body for BlobBody {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        Poll::Ready(None)
    }
}
