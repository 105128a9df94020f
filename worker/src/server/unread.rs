//! Answers that their client does not read, and connections that nobody uses.
//!
//! On HTTP/2 the connection goes on while one of its answers stands still, so
//! each is watched by itself. The last piece of an answer leaves this place
//! before it is sent: a client that does not read that looks like one that
//! wants nothing more, and neither is kept for long.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

/// How often a limit is looked at while it runs.
const LOOKS: u32 = 4;
/// The most bytes of an answer that are handed over at once.
const PIECE: usize = 64 << 10;
/// How many answers are remembered before those that have ended are looked for.
const ENDED: usize = 1024;

/// Since when the client has not asked for more. None: it is not its turn.
type Since = Mutex<Option<Instant>>;

/// The answers of a connection that are under way.
#[derive(Clone, Debug)]
pub(super) struct Unread(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    answers: Vec<Weak<Since>>,
    /// When there was something to do, as far as is known. None: nothing yet.
    used: Option<Instant>,
}

/// A request that is answered. None: it is not watched.
#[derive(Debug)]
pub(super) struct Watch(Option<Arc<Since>>);

/// The body of an answer, watched if it has to be.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    /// What the body has given and is not handed over yet.
    rest: Bytes,
    since: Option<Arc<Since>>,
}

impl Unread {
    /// No answers yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            answers: Vec::new(),
            used: None,
        })))
    }

    /// Takes note of a request.
    pub(super) fn asked(&self) -> Watch {
        let since = Arc::<Since>::default();
        let mut state = lock(&self.0);
        state.used = Some(Instant::now());
        if state.answers.len() >= ENDED {
            state.forget_ended();
        }
        state.answers.push(Arc::downgrade(&since));
        Watch(Some(since))
    }

    /// Ends when a client has not asked for more of an answer for `limit`. When
    /// nothing has been asked for or answered for as long, `go` is cancelled, and
    /// a client that stays all the same is waited for as long again.
    pub(super) async fn for_longer_than(&self, limit: Duration, go: &CancellationToken) {
        let mut looks = interval((limit / LOOKS).max(Duration::from_millis(1)));
        loop {
            let now = looks.tick().await;
            let mut state = lock(&self.0);
            state.forget_ended();
            if !state.answers.is_empty() {
                state.used = Some(now);
            }
            if state.is_unused(now, limit) {
                go.cancel();
            }
            if state.stands_still(now, limit) || state.is_unused(now, 2 * limit) {
                return;
            }
        }
    }
}

impl State {
    fn forget_ended(&mut self) {
        self.answers.retain(|since| since.strong_count() > 0);
    }

    fn is_unused(&self, now: Instant, limit: Duration) -> bool {
        let used = self.used;
        used.is_some_and(|used| now.saturating_duration_since(used) > limit)
    }

    fn stands_still(&self, now: Instant, limit: Duration) -> bool {
        self.answers.iter().filter_map(Weak::upgrade).any(|since| {
            let since = *lock(&since);
            since.is_some_and(|since| now.saturating_duration_since(since) > limit)
        })
    }
}

impl Watch {
    /// For what needs no watching.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Watches `body` from now on.
    pub(super) fn body<B>(self, body: B) -> Watched<B> {
        if let Some(since) = &self.0 {
            *lock(since) = Some(Instant::now());
        }
        Watched {
            body,
            rest: Bytes::new(),
            since: self.0,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Watched<B> {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(since) = self.since.clone() else {
            return Pin::new(&mut self.body).poll_frame(context);
        };
        let frame = self.poll_piece(context);
        *lock(&since) = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Whole even after a panic: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
