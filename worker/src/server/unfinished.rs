//! Answers that are cut off in the middle.
//!
//! A client of HTTP/1.0 that was told no length takes the end of the connection
//! for the end of the answer. So a connection that closes while one of its
//! answers is unfinished is reset: a client reports a reset as an error.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// How far the answer of an HTTP/1 connection has come. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Unfinished(Arc<AtomicU8>);

/// No answer, or all of it is written.
const NONE: u8 = 0;
/// More of it is to come.
const BODY: u8 = 1;
/// All of it has come, and waits to be written.
const UNWRITTEN: u8 = 2;

/// The body of an answer, which is unfinished from its first poll to its end.
#[derive(Debug)]
pub(super) struct Tracked<B> {
    body: B,
    unfinished: Option<Unfinished>,
}

impl Unfinished {
    /// Follows `body` to its end.
    pub(super) fn body<B>(&self, body: B) -> Tracked<B> {
        let unfinished = Some(self.clone());
        Tracked { body, unfinished }
    }

    /// Notes that all that has come is written.
    pub(super) fn written(&self) {
        self.0
            .compare_exchange(UNWRITTEN, NONE, Relaxed, Relaxed)
            .ok();
    }

    /// Whether a part of an answer is missing.
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Relaxed) != NONE
    }

    fn note(&self, is_over: bool) {
        let state = if is_over { UNWRITTEN } else { BODY };
        self.0.store(state, Relaxed);
    }
}

impl<B> Tracked<B> {
    /// A body that nothing depends on.
    pub(super) fn untracked(body: B) -> Self {
        let unfinished = None;
        Self { body, unfinished }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Some(unfinished) = &self.unfinished {
            unfinished.note(match &frame {
                Poll::Ready(None) => true,
                Poll::Ready(Some(Ok(_))) => is_over(&self.body),
                Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            });
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn is_over<B: Body>(body: &B) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}
