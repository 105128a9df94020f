//! The newest bytes of a blob that several clients read at once.
//!
//! Pure state: who reads what, who waits, who is too slow. Until the first
//! piece is thrown out anybody may join, since everything from the first byte
//! on is still there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
};

use bytes::Bytes;

use crate::upstream::{Error, hash::Hasher};

/// Pieces of a blob, its readers, and the one who fills it.
#[derive(Debug)]
pub(super) struct Ring {
    pieces: VecDeque<Piece>,
    /// The number of the first piece that is still there.
    first: u64,
    bytes: usize,
    readers: HashMap<u64, Reader>,
    /// Readers so far.
    joined: u64,
    /// Readers that have read everything and wait for more.
    starving: usize,
    is_closed: bool,
    outcome: Option<Result<(), Error>>,
    filler: Option<Waker>,
    /// What all rings of the worker hold together.
    total: Arc<AtomicUsize>,
}

/// Some bytes of a blob.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Where in the blob they begin.
    pub(super) position: u64,
    /// What the bytes before them hash to.
    pub(super) hasher: Hasher,
    unread: usize,
}

#[derive(Debug, Default)]
struct Reader {
    next: u64,
    waker: Option<Waker>,
    cut: Option<Cut>,
}

/// Where a reader that was too slow has to go on by itself.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) position: u64,
    pub(super) hasher: Hasher,
}

/// What a reader gets.
#[derive(Debug)]
pub(super) enum Next {
    Bytes(Bytes),
    CutOff(Cut),
    Ended(Result<(), Error>),
}

impl Piece {
    pub(super) fn new(bytes: Bytes, position: u64, hasher: Hasher) -> Self {
        Self {
            bytes,
            position,
            hasher,
            unread: 0,
        }
    }
}

impl Ring {
    /// An empty ring, whose bytes are counted in `total`.
    pub(super) fn new(total: Arc<AtomicUsize>) -> Self {
        Self {
            pieces: VecDeque::new(),
            first: 0,
            bytes: 0,
            readers: HashMap::new(),
            joined: 0,
            starving: 0,
            is_closed: false,
            outcome: None,
            filler: None,
            total,
        }
    }

    /// Lets a reader in at the first byte. None: it is no longer there.
    pub(super) fn join(&mut self) -> Option<u64> {
        if !self.is_joinable() {
            return None;
        }
        for piece in &mut self.pieces {
            piece.unread += 1;
        }
        self.joined += 1;
        self.readers.insert(self.joined, Reader::default());
        self.wake_filler();
        Some(self.joined)
    }

    /// Lets a reader go.
    pub(super) fn leave(&mut self, id: u64) {
        let Some(reader) = self.readers.remove(&id) else {
            return;
        };
        if reader.waker.is_some() {
            self.starving -= 1;
        }
        if reader.cut.is_none() {
            self.mark_read(reader.next);
        }
        self.wake_filler();
    }

    /// The next bytes for a reader.
    pub(super) fn poll_next(&mut self, id: u64, waker: &Waker) -> Poll<Next> {
        let Some(reader) = self.readers.get_mut(&id) else {
            return Poll::Ready(Next::Ended(Ok(())));
        };
        if reader.waker.take().is_some() {
            self.starving -= 1;
        }
        if let Some(cut) = reader.cut.take() {
            self.readers.remove(&id);
            self.wake_filler();
            return Poll::Ready(Next::CutOff(cut));
        }
        let index = usize::try_from(reader.next - self.first).unwrap_or(usize::MAX);
        if let Some(piece) = self.pieces.get_mut(index) {
            reader.next += 1;
            piece.unread -= 1;
            let bytes = piece.bytes.clone();
            if piece.unread == 0 && index == 0 {
                self.front_is_read();
            }
            return Poll::Ready(Next::Bytes(bytes));
        }
        if let Some(outcome) = self.outcome.clone() {
            return Poll::Ready(Next::Ended(outcome));
        }
        reader.waker = Some(waker.clone());
        self.starving += 1;
        self.wake_filler();
        Poll::Pending
    }

    /// Adds the next piece.
    pub(super) fn push(&mut self, mut piece: Piece) {
        piece.unread = self.readers.values().filter(|r| r.cut.is_none()).count();
        self.bytes += piece.bytes.len();
        self.total.fetch_add(piece.bytes.len(), Relaxed);
        self.pieces.push_back(piece);
        self.wake_readers();
    }

    /// Says how the blob has ended: nothing more will be pushed.
    pub(super) fn finish(&mut self, outcome: Result<(), Error>) {
        self.is_closed = outcome.is_err();
        self.outcome = Some(outcome);
        self.wake_readers();
    }

    /// Lets nobody in any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.throw_out_read();
    }

    /// Throws out what everybody has read. After that nobody can join.
    pub(super) fn throw_out_read(&mut self) {
        while self.pieces.front().is_some_and(|piece| piece.unread == 0) {
            self.pop();
        }
    }

    /// Throws out the oldest piece, and cuts off those who have not read it.
    pub(super) fn cut_off_slowest(&mut self) {
        let Some(piece) = self.pop() else {
            return;
        };
        let oldest = self.first - 1;
        let slow = self.readers.values_mut();
        for reader in slow.filter(|reader| reader.cut.is_none() && reader.next == oldest) {
            reader.cut = Some(Cut {
                position: piece.position,
                hasher: piece.hasher.clone(),
            });
            for piece in &mut self.pieces {
                piece.unread -= 1;
            }
        }
        self.throw_out_read();
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a reader may still join.
    pub(super) fn is_joinable(&self) -> bool {
        let is_given_up = self.outcome.is_none() && self.is_deserted();
        !self.is_closed && self.first == 0 && !is_given_up
    }

    /// Whether somebody has read everything and waits for more.
    pub(super) fn is_starving(&self) -> bool {
        self.starving > 0
    }

    /// Whether there have been readers and all have left.
    pub(super) fn is_deserted(&self) -> bool {
        self.joined > 0 && self.readers.is_empty()
    }

    /// Whether nobody has joined yet.
    pub(super) fn is_new(&self) -> bool {
        self.joined == 0
    }

    /// Has `waker` woken when something changes for the filler.
    pub(super) fn set_filler(&mut self, waker: &Waker) {
        self.filler = Some(waker.clone());
    }

    fn front_is_read(&mut self) {
        // What nobody can join any more need not be held.
        if self.first > 0 || self.is_closed {
            self.throw_out_read();
        }
        self.wake_filler();
    }

    fn mark_read(&mut self, from: u64) {
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        for piece in self.pieces.iter_mut().skip(skip) {
            piece.unread -= 1;
        }
        if self.first > 0 || self.is_closed {
            self.throw_out_read();
        }
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.first += 1;
        self.bytes -= piece.bytes.len();
        self.total.fetch_sub(piece.bytes.len(), Relaxed);
        Some(piece)
    }

    fn wake_readers(&mut self) {
        self.starving = 0;
        let wakers = self.readers.values_mut().filter_map(|r| r.waker.take());
        wakers.for_each(Waker::wake);
    }

    fn wake_filler(&mut self) {
        if let Some(filler) = self.filler.take() {
            filler.wake();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::hash::sha256;

    fn ring() -> Ring {
        Ring::new(Arc::default())
    }

    fn push(ring: &mut Ring, bytes: &'static str, position: u64) {
        let hasher = Hasher::new(sha256(b""));
        let piece = Piece::new(Bytes::from_static(bytes.as_bytes()), position, hasher);
        ring.push(piece);
    }

    fn next(ring: &mut Ring, reader: u64) -> String {
        match ring.poll_next(reader, Waker::noop()) {
            Poll::Pending => "pending".to_owned(),
            Poll::Ready(Next::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Poll::Ready(Next::CutOff(cut)) => format!("cut off at {}", cut.position),
            Poll::Ready(Next::Ended(outcome)) => format!("{outcome:?}"),
        }
    }

    #[test]
    fn every_reader_gets_every_piece_in_order() {
        let mut ring = ring();
        let early = ring.join().unwrap();
        push(&mut ring, "a", 0);
        assert_eq!(next(&mut ring, early), "a");
        push(&mut ring, "b", 1);

        let late = ring.join().unwrap();
        ring.finish(Ok(()));

        assert_eq!(
            [(); 3].map(|()| next(&mut ring, late)),
            ["a", "b", "Ok(())"]
        );
        assert_eq!([(); 2].map(|()| next(&mut ring, early)), ["b", "Ok(())"]);
        ring.close();
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn nobody_joins_after_the_first_piece_is_gone() {
        let mut ring = ring();
        let reader = ring.join().unwrap();
        push(&mut ring, "a", 0);
        next(&mut ring, reader);
        assert!(ring.is_joinable());

        ring.throw_out_read();

        assert!(!ring.is_joinable() && ring.join().is_none());
    }

    #[test]
    fn the_slowest_is_cut_off_where_it_stands_and_the_others_go_on() {
        let mut ring = ring();
        let (slow, fast) = (ring.join().unwrap(), ring.join().unwrap());
        push(&mut ring, "a", 0);
        push(&mut ring, "b", 1);
        next(&mut ring, slow);
        assert_eq!(
            [(); 3].map(|()| next(&mut ring, fast)),
            ["a", "b", "pending"]
        );
        assert!(ring.is_starving());
        ring.throw_out_read();

        ring.cut_off_slowest();
        push(&mut ring, "c", 2);

        assert_eq!(next(&mut ring, slow), "cut off at 1");
        ring.leave(slow);
        assert_eq!([(); 2].map(|()| next(&mut ring, fast)), ["c", "pending"]);
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn one_who_leaves_holds_nothing_back() {
        let mut ring = ring();
        let (stays, leaves) = (ring.join().unwrap(), ring.join().unwrap());
        push(&mut ring, "a", 0);
        push(&mut ring, "b", 1);
        assert_eq!([(); 2].map(|()| next(&mut ring, stays)), ["a", "b"]);

        ring.leave(leaves);
        ring.throw_out_read();

        assert_eq!(ring.bytes(), 0);
        assert!(!ring.is_deserted());
        ring.leave(stays);
        assert!(ring.is_deserted());
    }

    #[test]
    fn what_all_rings_hold_is_counted() {
        let total = Arc::new(AtomicUsize::new(0));
        let mut ring = Ring::new(Arc::clone(&total));
        push(&mut ring, "abc", 0);
        assert_eq!(total.load(Relaxed), 3);

        drop(ring);

        assert_eq!(total.load(Relaxed), 0);
    }
}
