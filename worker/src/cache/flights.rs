//! Work that many wait for and one does.

use std::{future::pending, hash::Hash, sync::Arc};

use dashmap::{DashMap, Entry};
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use crate::in_flight::InFlight;

/// How many flights of one kind go on although nobody waits for them.
const MOST_ABANDONED: usize = 64;

/// Flights under way, by key. Whoever asks for a key while its flight is in the air
/// waits for that flight's result; nothing is kept after it has landed.
///
/// A flight is a task of its own: those who wait may leave at any time without
/// disturbing the others. When the last one leaves, the flight is abandoned: it
/// is cancelled, unless few others go on that are abandoned, too.
#[derive(Debug)]
pub(crate) struct Flights<K: Hash + Eq, T> {
    in_air: Arc<InAir<K, T>>,
    abandoned: Arc<Semaphore>,
}

type InAir<K, T> = DashMap<K, watch::Sender<Option<T>>, ahash::RandomState>;

/// A place on a flight.
#[derive(Debug)]
pub(crate) struct Ticket<T> {
    arrivals: watch::Receiver<Option<T>>,
    /// Whether somebody else had started the flight.
    pub(crate) joined: bool,
}

impl<K, T> Flights<K, T>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No flights.
    pub(crate) fn new() -> Self {
        Self {
            in_air: Arc::new(DashMap::with_hasher(ahash::RandomState::new())),
            abandoned: Arc::new(Semaphore::new(MOST_ABANDONED)),
        }
    }

    /// Joins the flight for `key`, or starts it. A flight that stores its
    /// result must look for a stored one first: another may have landed since
    /// the caller looked.
    pub(crate) fn board<F>(&self, key: K, start: impl FnOnce() -> F) -> Ticket<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (departures, arrivals) = match self.in_air.entry(key.clone()) {
            Entry::Occupied(flight) => {
                return Ticket {
                    arrivals: flight.get().subscribe(),
                    joined: true,
                };
            }
            Entry::Vacant(gate) => {
                let (departures, arrivals) = watch::channel(None);
                gate.insert(departures.clone());
                (departures, arrivals)
            }
        };
        let landing = Landing {
            in_air: Arc::clone(&self.in_air),
            departures: departures.clone(),
            key,
        };
        let abandoned = Arc::clone(&self.abandoned);
        let flight = start();
        let task = async move {
            let result = tokio::select! {
                result = flight => result,
                () = landing.cancelled(&abandoned) => return,
            };
            drop(landing);
            departures.send_replace(Some(result));
        };
        tokio::spawn(InFlight::current().scope(task).in_current_span());
        Ticket {
            arrivals,
            joined: false,
        }
    }
}

impl<T: Clone> Ticket<T> {
    /// The flight's result; None if it crashed.
    pub(crate) async fn landed(mut self) -> Option<T> {
        let result = self.arrivals.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}

/// Takes a flight off the board, also when its task panics or is cancelled.
struct Landing<K: Hash + Eq, T> {
    in_air: Arc<InAir<K, T>>,
    departures: watch::Sender<Option<T>>,
    key: K,
}

impl<K: Hash + Eq, T> Landing<K, T> {
    /// Returns once the flight is abandoned and no more may go on. From then
    /// on nobody can join it.
    async fn cancelled(&self, abandoned: &Semaphore) {
        loop {
            self.departures.closed().await;
            if let Ok(_permit) = abandoned.try_acquire() {
                return pending().await;
            }
            // One who joins has a lock on the entry while it subscribes.
            if self.remove(|departures| departures.receiver_count() == 0) {
                return;
            }
        }
    }

    /// Another flight may have taken the place of this one.
    fn remove(&self, may: impl Fn(&watch::Sender<Option<T>>) -> bool) -> bool {
        let is_own = |it: &watch::Sender<_>| it.same_channel(&self.departures);
        let removed = self
            .in_air
            .remove_if(&self.key, |_, it| is_own(it) && may(it));
        removed.is_some()
    }
}

impl<K: Hash + Eq, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        self.remove(|_| true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn two_hundred_who_ask_at_once_share_one_flight() {
        let flights = Flights::new();
        let starts = Arc::new(AtomicUsize::new(0));
        let (land, landed) = oneshot::channel::<u32>();
        let mut landed = Some(landed);

        let tickets: Vec<_> = (0..200)
            .map(|_| {
                flights.board("key", || {
                    starts.fetch_add(1, Ordering::Relaxed);
                    let landed = landed.take().unwrap();
                    async { landed.await.unwrap() }
                })
            })
            .collect();
        land.send(7).unwrap();

        for ticket in tickets {
            assert_eq!(ticket.landed().await, Some(7));
        }
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn one_who_leaves_disturbs_nobody_even_if_they_started_it() {
        let flights = Flights::new();
        let (land, landed) = oneshot::channel::<u32>();
        let first = flights.board("key", || async { landed.await.unwrap() });
        let second = flights.board("key", || async { unreachable!() });

        drop(first);
        land.send(7).unwrap();

        assert_eq!(second.landed().await, Some(7));
    }

    #[tokio::test]
    async fn after_a_landing_the_next_one_flies_again() {
        let flights = Flights::new();
        flights.board("key", || async { 1 }).landed().await;

        let again = flights.board("key", || async { 2 });

        assert!(!again.joined);
        assert_eq!(again.landed().await, Some(2));
    }

    #[tokio::test]
    async fn a_crashed_flight_leaves_the_key_free() {
        let flights: Flights<&str, u32> = Flights::new();
        let crashed = flights.board("key", || async { panic!("as the test wants") });
        assert_eq!(crashed.landed().await, None);

        let next = flights.board("key", || async { 3 });

        assert_eq!(next.landed().await, Some(3));
    }

    #[tokio::test]
    async fn of_the_flights_that_nobody_waits_for_only_a_bounded_number_goes_on() {
        let flights = Flights::new();
        let finish = watch::Sender::new(false);
        for n in 0..MOST_ABANDONED {
            let mut finished = finish.subscribe();
            drop(flights.board(n, || async move {
                finished.wait_for(|it| *it).await.unwrap();
                n
            }));
        }
        // All of them have a permit before the next one looks for one.
        while flights.abandoned.available_permits() > 0 {
            tokio::task::yield_now().await;
        }

        let (mut other, cancelled) = oneshot::channel::<usize>();
        drop(flights.board(100, || async { cancelled.await.unwrap() }));
        other.closed().await;

        let first = flights.board(0, || async { unreachable!() });
        let again = flights.board(100, || async { 7 });
        finish.send_replace(true);
        assert_eq!(
            (first.landed().await, again.landed().await),
            (Some(0), Some(7))
        );
    }
}
