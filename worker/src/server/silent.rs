//! Connections on which no request has come yet.
//!
//! Where no place is left, the one that has been silent longest gives its place
//! to the next client: connections that are only opened must not keep clients
//! out that have something to ask.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::Places;
use crate::peer::network;

/// The silent connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct SilentConnections(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    since: Instant,
    places: Places,
    evicted: CancellationToken,
}

/// A connection that keeps its places until this is dropped, unless it is
/// evicted.
#[derive(Debug)]
pub(super) struct EvictableConnection {
    silent: SilentConnections,
    id: u64,
    /// Cancelled when another connection has taken the places.
    pub(super) evicted: CancellationToken,
    places: Mutex<Option<Places>>,
}

impl SilentConnections {
    /// Takes note of a connection from `address`.
    pub(super) fn hold(&self, address: IpAddr, places: Places) -> EvictableConnection {
        let mut state = lock(&self.0);
        let (id, evicted) = (state.next, CancellationToken::new());
        state.next += 1;
        let connection = Connection {
            address: network(address),
            since: Instant::now(),
            places,
            evicted: evicted.clone(),
        };
        state.connections.insert(id, connection);
        EvictableConnection {
            silent: self.clone(),
            id,
            evicted,
            places: Mutex::default(),
        }
    }

    /// Ends the connection that has been silent longest, of all or of those of an
    /// address, if that is longer than `grace`. Returns its places.
    pub(super) fn evict(&self, of: Option<IpAddr>, grace: Duration) -> Option<Places> {
        let of = of.map(network);
        let mut state = lock(&self.0);
        let mut all = state.connections.iter();
        let (id, oldest) = all.find(|(_, it)| of.is_none_or(|of| of == it.address))?;
        let id = (oldest.since.elapsed() >= grace).then_some(*id)?;
        let connection = state.connections.remove(&id)?;
        connection.evicted.cancel();
        Some(connection.places)
    }
}

impl EvictableConnection {
    /// Takes note of a request: the connection is silent no more.
    pub(super) fn spoke(&self) {
        let mut own = lock(&self.places);
        if own.is_none() {
            let connection = lock(&self.silent.0).connections.remove(&self.id);
            *own = connection.map(|it| it.places);
        }
    }
}

impl Drop for EvictableConnection {
    fn drop(&mut self) {
        lock(&self.silent.0).connections.remove(&self.id);
    }
}

/// Whole even after a panic: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
