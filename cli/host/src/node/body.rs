//! Response bodies: the proxy's own, or the balancer's passed through.

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

/// A response body with backpressure: the next frame is read only after the
/// previous one has been written, so that a slow client slows the balancer
/// down.
pub(super) enum Body {
    /// A text of the proxy.
    Own(Full<Bytes>),
    /// The body of the balancer's response.
    Passed(Passed),
}

/// A body that fails if the balancer sends nothing for too long.
pub(super) struct Passed {
    incoming: Incoming,
    limit: Duration,
    /// The timer of the current wait, created at the first wait.
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl Body {
    /// A body with a text of the proxy.
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }

    /// The balancer's body. Fails if no frame arrives for `limit`.
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
