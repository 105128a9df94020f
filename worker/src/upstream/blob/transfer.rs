//! One reading of a blob, taken up again wherever it breaks off.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep};

use super::reopen::{Opening, Reopen, Rest};
use crate::{
    reference::Digest,
    upstream::{Error, hash::Hasher},
};

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
        Self::at(State::Flowing(body), reopen, position, end)
    }

    fn at(state: State, reopen: Reopen, position: u64, end: Option<u64>) -> Self {
        Self {
            state,
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

    /// The rest of a transfer that has come as far as `position` elsewhere, with
    /// what has been hashed so far, if it can be verified.
    pub(super) fn resumed(
        mut reopen: Reopen,
        position: u64,
        end: u64,
        hasher: Option<Hasher>,
    ) -> Result<Self, Error> {
        let opening = reopen.open(position, Some(end))?;
        Ok(Self {
            hasher,
            ..Self::at(State::Opening(opening), reopen, position, Some(end))
        })
    }

    /// How many bytes are still to come, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.position))
    }

    /// Whether nothing more will come.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// What the bytes so far hash to.
    pub(super) fn hasher(&self) -> Option<&Hasher> {
        self.hasher.as_ref()
    }

    /// The next bytes; None after the last of a blob that is all it should be.
    pub(super) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
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
        self.reopen.check_length(self.position)?;
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

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
