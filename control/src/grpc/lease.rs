//! Ends answers that outlive the credential of their caller: a stream that
//! began with an admin token ends when the token is revoked or over.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::sleep;
use tonic::{Status, body::Body};

use crate::{
    Catalog, Error,
    access::Caller,
    records::{AdminToken, Key},
};

/// Timers do not reach as far as tokens do, and the clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// An answer and what ends it.
struct Leased {
    answer: Body,
    /// `None`: it has ended.
    end: Option<End>,
}

/// The answer to `caller`, for as long as the credential is good.
pub(super) fn leased(answer: Body, caller: &Caller, catalog: &Catalog) -> Body {
    // Whether a worker may stay is checked elsewhere.
    if caller.standing.role().is_none() {
        return answer;
    }
    let token = catalog
        .policy()
        .find::<AdminToken>(&Key::admin_token(&caller.name))
        .cloned();
    if token.is_none() && caller.expires.is_none() {
        return answer;
    }
    let end = ended(caller.expires, token, catalog.clone());
    Body::new(Leased {
        answer,
        end: Some(Box::pin(end)),
    })
}

/// Waits until the credential is not good any more.
async fn ended(expires: Option<SystemTime>, token: Option<AdminToken>, catalog: Catalog) -> Status {
    tokio::select! {
        () = reached(expires) => {}
        () = revoked(token, catalog) => {}
    }
    let reason = "the credential of this call is not good any more: call again with a good one";
    Error::Unauthenticated {
        reason: reason.into(),
    }
    .into()
}

async fn reached(end: Option<SystemTime>) {
    let Some(end) = end else {
        return std::future::pending().await;
    };
    while let Ok(left) = end.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        sleep(left.min(LONGEST_SLEEP)).await;
    }
}

async fn revoked(token: Option<AdminToken>, catalog: Catalog) {
    let Some(token) = token else {
        return std::future::pending().await;
    };
    let key = Key::admin_token(&token.name);
    let mut policies = catalog.subscribe();
    let is_gone = |found: Option<&AdminToken>| {
        found.is_none_or(|found| found.secret_sha256 != token.secret_sha256)
    };
    // A store that is closed ends all calls anyway.
    let _ = policies.wait_for(|policy| is_gone(policy.find(&key))).await;
}

impl http_body::Body for Leased {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let Poll::Ready(status) = end.as_mut().poll(context) else {
            return Pin::new(&mut self.answer).poll_frame(context);
        };
        self.end = None;
        let mut trailers = HeaderMap::new();
        let told = status.add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.answer.is_end_stream()
    }
}
