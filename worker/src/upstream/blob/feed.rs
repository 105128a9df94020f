//! One reading of a blob for all clients that want it at the same time.
//!
//! A task of its own reads from the upstream as fast as the fastest client
//! takes, and waits for the slower ones as long as they are not too far
//! behind. It ends when the last client has left.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::{
    Answer,
    reopen::Reopen,
    ring::{Cut, Piece, Ring},
    transfer::Transfer,
};
use crate::upstream::{Error, hash::Hasher};

pub(super) use super::ring::Next;

/// How long a ring that is full keeps the first byte for clients that may
/// still come.
const BOARDING: Duration = Duration::from_millis(50);
/// How long clients that wait for more bear with those that are a whole ring
/// behind.
const LAG: Duration = Duration::from_millis(250);
/// How long a blob that has come as a whole stays for clients that may still
/// come.
const LINGER: Duration = Duration::from_secs(1);
/// How long to wait for the first client.
const FIRST_CLIENT: Duration = Duration::from_secs(1);
/// What a ring may hold in any case, in bytes.
const SMALLEST_RING: usize = 256 << 10;

/// A blob on its way to several clients.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    pub(super) answer: Answer,
    length: u64,
    reopen: Reopen,
    budget: Budget,
}

/// What rings may hold, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// One of them.
    pub(super) ring: usize,
    /// All of them, except for what each holds in any case.
    pub(super) all: usize,
    /// What all of them hold now.
    pub(super) total: Arc<AtomicUsize>,
}

/// A client's place at a feed.
#[derive(Debug)]
pub(super) struct Seat {
    feed: Arc<Feed>,
    id: u64,
    taken: u64,
}

impl Feed {
    /// A feed of `length` bytes.
    pub(super) fn new(answer: Answer, length: u64, reopen: Reopen, budget: Budget) -> Self {
        Self {
            ring: Mutex::new(Ring::new(Arc::clone(&budget.total))),
            answer,
            length,
            reopen,
            budget,
        }
    }

    /// A seat from the first byte on. None: it has gone by.
    pub(super) fn join(self: &Arc<Self>) -> Option<Seat> {
        let id = self.lock().join()?;
        Some(Seat {
            feed: Arc::clone(self),
            id,
            taken: 0,
        })
    }

    /// The rest of the blob, for one who was cut off.
    pub(super) fn resume(&self, cut: Cut) -> Result<Transfer, Error> {
        let reopen = self.reopen.again();
        Transfer::resumed(reopen, cut.position, self.length, Some(cut.hasher))
    }

    /// Reads all of `transfer` into the ring.
    pub(super) async fn fill(&self, transfer: Transfer, hasher: Hasher) {
        let mut filler = Filler {
            feed: self,
            transfer,
            before: hasher,
            position: 0,
            began: Instant::now(),
            full_since: None,
            finished: None,
            alarm: Box::pin(sleep(FIRST_CLIENT)),
        };
        std::future::poll_fn(|cx| filler.poll(cx)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The next bytes.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        let next = ready!(self.feed.lock().poll_next(self.id, cx.waker()));
        if let Next::Bytes(bytes) = &next {
            self.taken += bytes.len() as u64;
        }
        Poll::Ready(next)
    }

    /// How many bytes are still to come.
    pub(super) fn remaining(&self) -> u64 {
        self.feed.length.saturating_sub(self.taken)
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.feed.lock().leave(self.id);
    }
}

/// The task behind a feed.
struct Filler<'a> {
    feed: &'a Feed,
    transfer: Transfer,
    /// What the bytes so far hash to.
    before: Hasher,
    position: u64,
    began: Instant,
    /// Since when somebody waits for more and there is no room for it.
    full_since: Option<Instant>,
    finished: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

/// Whether to read on.
enum Room {
    Yes,
    /// Not before this moment, or before a client has moved.
    NotBefore(Instant),
    /// Not before a client has moved.
    NotYet,
    /// Nobody is left to read for.
    Never,
}

impl Filler<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.room(cx) {
                Room::Yes => {}
                Room::Never => return Poll::Ready(()),
                Room::NotYet => return Poll::Pending,
                Room::NotBefore(moment) => {
                    self.alarm.as_mut().reset(moment);
                    ready!(self.alarm.as_mut().poll(cx));
                    continue;
                }
            }
            let bytes = ready!(self.transfer.poll_bytes(cx));
            let mut ring = self.feed.lock();
            match bytes.transpose() {
                Ok(Some(bytes)) => {
                    let after = self.transfer.hasher().unwrap_or(&self.before).clone();
                    let before = std::mem::replace(&mut self.before, after);
                    let position = self.position;
                    self.position += bytes.len() as u64;
                    ring.push(Piece::new(bytes, position, before));
                }
                Ok(None) => {
                    ring.finish(Ok(()));
                    self.finished = Some(Instant::now());
                }
                Err(error) => {
                    ring.finish(Err(error));
                    return Poll::Ready(());
                }
            }
        }
    }

    fn room(&mut self, cx: &Context<'_>) -> Room {
        let now = Instant::now();
        let mut ring = self.feed.lock();
        ring.set_filler(cx.waker());
        let is_expected = ring.is_new() && now < self.began + FIRST_CLIENT;
        if is_expected {
            return Room::NotBefore(self.began + FIRST_CLIENT);
        }
        if let Some(finished) = self.finished {
            if now < finished + LINGER && ring.is_joinable() {
                return Room::NotBefore(finished + LINGER);
            }
            ring.close();
            return Room::Never;
        }
        if ring.is_new() || ring.is_deserted() {
            // At once: whoever came now would wait for ever.
            ring.finish(Err(self.feed.reopen.given_up()));
            return Room::Never;
        }
        if self.fits(&ring) {
            self.full_since = None;
            return Room::Yes;
        }
        if ring.is_joinable() && now < self.began + BOARDING {
            return Room::NotBefore(self.began + BOARDING);
        }
        ring.throw_out_read();
        if !self.fits(&ring) && !ring.is_starving() {
            self.full_since = None;
            return Room::NotYet;
        }
        let patient_until = *self.full_since.get_or_insert(now) + LAG;
        if !self.fits(&ring) && now < patient_until {
            return Room::NotBefore(patient_until);
        }
        while !self.fits(&ring) {
            ring.cut_off_slowest();
        }
        self.full_since = None;
        Room::Yes
    }

    fn fits(&self, ring: &Ring) -> bool {
        let Budget {
            ring: one,
            all,
            total,
        } = &self.feed.budget;
        let held = ring.bytes();
        held < SMALLEST_RING.min(*one) || (held < *one && total.load(Relaxed) < *all)
    }
}
