//! A bound on how many requests of one login are open at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::in_flight::InFlight;

/// How many requests of a login are open. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open {
    requests: Arc<AtomicUsize>,
    /// What these have in flight at upstreams.
    in_flight: InFlight,
}

/// An open request's place among those of its login. It is free again when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Open);

impl Open {
    /// Takes a place, if fewer than `most` are taken.
    pub(crate) fn place(&self, most: usize) -> Option<Place> {
        let taken = self.requests.fetch_add(1, Relaxed);
        let place = Place(self.clone());
        (taken < most).then_some(place)
    }
}

impl Place {
    /// What its login has in flight at upstreams.
    pub(crate) fn in_flight(&self) -> InFlight {
        self.0.in_flight.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_is_over() {
        let open = Open::default();
        let places = [open.place(2), open.place(2)];

        assert!(places.iter().all(Option::is_some));
        assert!(open.place(2).is_none());
        assert!(open.place(2).is_none());
        drop(places);
        assert!(open.place(2).is_some());
    }
}
