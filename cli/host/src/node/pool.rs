//! Idle connections to the balancer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;

/// The largest number of idle connections.
const MAX_IDLE: usize = 32;
/// The lifetime of an idle connection: shorter than the balancers' and workers'
/// own, so that few requests use a connection that is about to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection for requests without bodies.
pub(super) type Sender = SendRequest<Empty<Bytes>>;

/// Idle connections, the latest last.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Idle>>>);

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    /// Takes the most recently used connection that is still open.
    pub(super) fn take(&self) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expired = |it: &Idle| it.since.elapsed() > IDLE_TIMEOUT || it.sender.is_closed();
        // The oldest connections come first.
        let stale = idle.iter().take_while(|it| expired(it)).count();
        idle.drain(..stale);
        while let Some(it) = idle.pop() {
            if !it.sender.is_closed() {
                return Some(it.sender);
            }
        }
        None
    }

    /// Keeps a connection once its response has been read to the end.
    pub(super) fn keep(&self, mut sender: Sender) {
        let pool = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                let since = Instant::now();
                idle.push(Idle { sender, since });
            }
        });
    }
}
