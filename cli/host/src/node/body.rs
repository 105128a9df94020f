//! The body of an answer: of the proxy's own, or passed on as it arrives.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};
use tracing::warn;

/// A body that is asked for a frame only when the one before has been written,
/// so that a slow client slows the balancer down.
pub(super) enum Body {
    /// The proxy's own.
    Own(Full<Bytes>),
    /// The balancer's.
    Passed(Passed),
}

/// A body that breaks off when the balancer is silent for too long.
pub(super) struct Passed {
    incoming: Incoming,
    limit: Duration,
    /// Runs while a frame is waited for. Made when one is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Body {
    /// The proxy's own text.
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }

    /// What the balancer sends, unless it is silent for `limit`.
    pub(super) fn passed(incoming: Incoming, limit: Duration) -> Self {
        Self::Passed(Passed {
            incoming,
            limit,
            timer: None,
            waits: false,
        })
    }
}

type FrameResult = Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>;

impl Passed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            self.waits = false;
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|error| {
                    warn!(%error, "an answer of the balancer broke off");
                    error.into()
                })
            }));
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waits {
            self.waits = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        ready!(timer.as_mut().poll(context));
        warn!("cut an answer off: the balancer has been silent for {limit:?}");
        Poll::Ready(Some(Err("the balancer is silent".into())))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<FrameResult>> {
        match &mut *self {
            Self::Own(own) => Pin::new(own).poll_frame(context).map_err(Into::into),
            Self::Passed(passed) => passed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.is_end_stream(),
            Self::Passed(passed) => passed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => own.size_hint(),
            Self::Passed(passed) => passed.incoming.size_hint(),
        }
    }
}
