//! The body of a blob.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::reopen::{Opening, Reopen, Rest};
use crate::{
    reference::Digest,
    upstream::{Error, hash::Hasher},
};

/// A blob on its way: ends cleanly only when all of it has come and hashes to
/// its digest. Dropping it leaves the upstream's connection.
#[derive(Debug, Default)]
pub(crate) struct BlobBody(Option<Box<Transfer>>);

/// Why a blob broke off. The connection to the client has to break too.
#[derive(Debug, thiserror::Error)]
#[error("the blob broke off")]
pub(crate) struct BlobError(#[from] pub(crate) Error);

/// A blob that is being read from its upstream, again and again if need be.
pub(super) struct Transfer {
    state: State,
    reopen: Reopen,
    /// What the bytes must hash to, where all of them come by.
    hasher: Option<Hasher>,
    /// Where in the blob the next byte belongs.
    position: u64,
    /// Where the last one belongs, plus one.
    end: Option<u64>,
    /// Bytes to leave out, since they have been passed on before.
    skip: u64,
    /// The newest bytes, while it is not known whether more will come.
    held: Option<Bytes>,
    /// When to give up on a silent upstream, and whether that clock runs.
    stall: Pin<Box<Sleep>>,
    is_waiting: bool,
}

enum State {
    Flowing(reqwest::Body),
    Opening(Opening),
    Ended,
}

/// What came of looking for more bytes.
enum Step {
    Bytes(Bytes),
    /// Nothing to pass on yet.
    Again,
    /// The upstream's body is over.
    Over,
    /// It broke, or stalls.
    Broken,
}

impl Transfer {
    /// A transfer of the bytes from `position` to `end`, of which `body` is
    /// about to bring the first.
    pub(super) fn new(
        body: reqwest::Body,
        reopen: Reopen,
        position: u64,
        end: Option<u64>,
    ) -> Self {
        Self {
            state: State::Flowing(body),
            stall: Box::pin(sleep(reopen.stall_timeout())),
            is_waiting: false,
            reopen,
            hasher: None,
            position,
            end,
            skip: 0,
            held: None,
        }
    }

    /// The same, which must hash to `promised`.
    pub(super) fn verified(mut self, promised: Option<Digest>) -> Self {
        self.hasher = promised.map(Hasher::new);
        self
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let step = if matches!(self.state, State::Ended) {
                return Poll::Ready(None);
            } else if self.end == Some(self.position) {
                self.finish().map(|()| Step::Again)
            } else {
                ready!(self.poll_step(cx))
            };
            match step.and_then(|step| self.settle(step)) {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(None) => {}
                Err(error) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, Error>> {
        match &mut self.state {
            State::Ended => Poll::Ready(Ok(Step::Again)),
            State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                Ok(Rest { body, skip }) => {
                    self.skip = skip;
                    self.state = State::Flowing(body);
                    Poll::Ready(Ok(Step::Again))
                }
                Err(error) if error.is_weather() => Poll::Ready(Ok(Step::Broken)),
                Err(error) => Poll::Ready(Err(error)),
            },
            State::Flowing(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    self.is_waiting = false;
                    Poll::Ready(Ok(match frame {
                        Some(Ok(frame)) => frame.into_data().map_or(Step::Again, Step::Bytes),
                        Some(Err(_)) => Step::Broken,
                        None => Step::Over,
                    }))
                }
                Poll::Pending => {
                    ready!(self.poll_stall(cx));
                    Poll::Ready(Ok(Step::Broken))
                }
            },
        }
    }

    /// Done when the upstream has been silent for too long. A slow client does
    /// not count: the clock runs only while bytes are waited for.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_waiting {
            self.is_waiting = true;
            let deadline = Instant::now() + self.reopen.stall_timeout();
            self.stall.as_mut().reset(deadline);
        }
        ready!(self.stall.as_mut().poll(cx));
        self.is_waiting = false;
        Poll::Ready(())
    }

    /// The bytes to pass on, if any.
    fn settle(&mut self, step: Step) -> Result<Option<Bytes>, Error> {
        match step {
            Step::Again => Ok(None),
            Step::Bytes(bytes) => self.take(bytes),
            Step::Over if self.end.is_none() => {
                self.finish()?;
                Ok(self.held.take())
            }
            Step::Over | Step::Broken => {
                self.state = State::Opening(self.reopen.open(self.position, self.end)?);
                Ok(None)
            }
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<Option<Bytes>, Error> {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        bytes.advance(skipped);
        self.skip -= skipped as u64;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.position += bytes.len() as u64;
        self.reopen.metrics().blob_bytes.inc_by(bytes.len() as u64);
        if self.end.is_some_and(|end| self.position > end) {
            return Err(Error::BadAnswer {
                upstream: self.reopen.upstream().name.clone(),
                what: "more bytes than announced",
            });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        match self.end {
            // The last bytes go out only if all of them are right.
            Some(end) if end == self.position => self.finish().map(|()| Some(bytes)),
            Some(_) => Ok(Some(bytes)),
            None => Ok(self.held.replace(bytes)),
        }
    }

    /// Ends the transfer, if the bytes are what they should be.
    fn finish(&mut self) -> Result<(), Error> {
        self.state = State::Ended;
        match &self.hasher {
            Some(hasher) if !hasher.is_complete() => {
                self.reopen.metrics().digest_mismatches.inc();
                let name = &self.reopen.upstream().name;
                tracing::warn!(upstream = %name, "a blob is not what its digest promises");
                Err(Error::DigestMismatch {
                    upstream: name.clone(),
                    expected: hasher.promised().clone(),
                })
            }
            _ => Ok(()),
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
        let Some(transfer) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let bytes = ready!(transfer.poll_bytes(cx));
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data).map_err(BlobError)))
    }

    fn is_end_stream(&self) -> bool {
        let transfer = self.0.as_ref();
        transfer.is_none_or(|transfer| matches!(transfer.state, State::Ended))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(transfer) => match transfer.end {
                Some(end) => SizeHint::with_exact(end.saturating_sub(transfer.position)),
                None => SizeHint::default(),
            },
        }
    }
}

impl From<Transfer> for BlobBody {
    fn from(transfer: Transfer) -> Self {
        Self(Some(Box::new(transfer)))
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
