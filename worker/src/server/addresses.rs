//! A bound on how many connections one address has.
//!
//! For IPv6 an address stands for its network: one host may have all of it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::peer::network;

/// How many connections each address has. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<IpAddr, usize, ahash::RandomState>>>);

/// A connection's place among those of its address. It is free again when this
/// is dropped.
#[derive(Debug)]
pub(super) struct Seat(Addresses, IpAddr);

impl Addresses {
    /// Takes a place for a connection from `address`, if fewer than `most` are
    /// taken.
    pub(super) fn seat(&self, address: IpAddr, most: usize) -> Option<Seat> {
        let address = network(address.to_canonical());
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= most {
            if *count == 0 {
                counts.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(Seat(self.clone(), address))
    }

    /// Whole even after a panic: each change is one assignment.
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize, ahash::RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_so_many_places_and_another_has_its_own() {
        let addresses = Addresses::default();
        let (here, neighbour) = (address("2001:db8::1"), address("2001:db8::9"));

        let seats = [addresses.seat(here, 2), addresses.seat(neighbour, 2)];

        assert!(seats.iter().all(Option::is_some));
        assert!(addresses.seat(here, 2).is_none());
        assert!(addresses.seat(address("2001:db8:0:1::1"), 2).is_some());
        assert!(addresses.seat(address("192.0.2.1"), 2).is_some());
        assert!(addresses.seat(address("192.0.2.1"), 0).is_none());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_have_left() {
        let addresses = Addresses::default();
        let seats = ["192.0.2.1", "192.0.2.2"].map(|it| addresses.seat(address(it), 1));
        assert!(addresses.seat(address("::ffff:192.0.2.1"), 1).is_none());

        drop(seats);

        assert!(addresses.counts().is_empty());
        assert!(addresses.seat(address("192.0.2.1"), 1).is_some());
    }
}
