//! Answers that their client does not read.
//!
//! On HTTP/2 the connection goes on while one of its answers stands still, so
//! each is watched by itself.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, interval};

/// How often a limit is looked at while it runs.
const LOOKS: u32 = 4;

/// Since when the client has not asked for more. None: it is not its turn.
type Since = Mutex<Option<Instant>>;

/// The answers of a connection that are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<Mutex<Vec<Weak<Since>>>>);

/// The body of an answer, watched if it has to be.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    since: Option<Arc<Since>>,
}

impl Unread {
    /// Watches `body` from now on, if `is_needed`.
    pub(super) fn watch<B>(&self, body: B, is_needed: bool) -> Watched<B> {
        let since = is_needed.then(Arc::<Since>::default);
        if let Some(since) = &since {
            lock(&self.0).push(Arc::downgrade(since));
        }
        Watched { body, since }
    }

    /// Ends when a client has not asked for more of an answer for `limit`.
    pub(super) async fn for_longer_than(&self, limit: Duration) {
        let mut looks = interval((limit / LOOKS).max(Duration::from_millis(1)));
        loop {
            let now = looks.tick().await;
            let mut answers = lock(&self.0);
            answers.retain(|since| since.strong_count() > 0);
            let stands_still = |since: Arc<Since>| {
                let since = *lock(&since);
                since.is_some_and(|since| now.saturating_duration_since(since) > limit)
            };
            if answers.iter().filter_map(Weak::upgrade).any(stands_still) {
                return;
            }
        }
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Some(since) = &self.since {
            *lock(since) = frame.is_ready().then(Instant::now);
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

/// Whole even after a panic: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
