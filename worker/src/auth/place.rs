//! A bound on how many requests of one login are open at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many requests of a login are open. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(Arc<AtomicUsize>);

/// An open request's place among those of its login. It is free again when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Open);

impl Open {
    /// Takes a place, if fewer than `most` are taken.
    pub(crate) fn place(&self, most: usize) -> Option<Place> {
        let taken = self.0.fetch_add(1, Relaxed);
        let place = Place(self.clone());
        (taken < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
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
