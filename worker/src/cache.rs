//! A map in memory that never weighs more than it may.
//!
//! A hit takes no lock and, with a borrowed key, allocates nothing. Writers pay for
//! everything: when the weight runs over, one of them throws out what nobody
//! has asked for since the last time (second chance). Nothing expires by
//! itself: a value that may grow old says so itself, and what depends on the
//! policy carries the policy's revision in its key.

mod flights;

use std::{
    hash::Hash,
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

use papaya::Equivalent;

pub(crate) use self::flights::{Flights, Ticket};

/// A cache bounded by the weight of its entries, in bytes.
pub(crate) struct Cache<K, V> {
    entries: papaya::HashMap<K, Entry<V>, ahash::RandomState>,
    weigh: fn(&K, &V) -> usize,
    capacity: i64,
    // Signed: the sum may dip below zero while a replacement is under way.
    weight: AtomicI64,
    sweeping: AtomicBool,
}

struct Entry<V> {
    value: V,
    weight: i64,
    /// Whether it has been asked for since the last sweep.
    asked_for: AtomicBool,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone,
    V: Clone,
{
    /// A cache for `capacity` bytes, as `weigh` counts them.
    pub(crate) fn new(capacity: u64, weigh: fn(&K, &V) -> usize) -> Self {
        Self {
            entries: papaya::HashMap::with_hasher(ahash::RandomState::new()),
            weigh,
            capacity: i64::try_from(capacity).unwrap_or(i64::MAX),
            weight: AtomicI64::new(0),
            sweeping: AtomicBool::new(false),
        }
    }

    /// What is kept under `key`.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        self.read(key, V::clone)
    }

    /// What `look` makes of what is kept under `key`.
    pub(crate) fn read<Q, T>(&self, key: &Q, look: impl FnOnce(&V) -> T) -> Option<T>
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        let entries = self.entries.pin();
        let entry = entries.get(key)?;
        // Most hits find it set, and leave the cache line to the other cores.
        if !entry.asked_for.load(Relaxed) {
            entry.asked_for.store(true, Relaxed);
        }
        Some(look(&entry.value))
    }

    /// Keeps `value` under `key`, in place of what was there. A value that is
    /// heavier than the whole cache is not kept.
    pub(crate) fn insert(&self, key: K, value: V) {
        let weight = i64::try_from((self.weigh)(&key, &value)).unwrap_or(i64::MAX);
        if weight > self.capacity {
            self.remove(&key);
            return;
        }
        let entry = Entry {
            value,
            weight,
            asked_for: AtomicBool::new(false),
        };
        let replaced = self
            .entries
            .pin()
            .insert(key, entry)
            .map_or(0, |e| e.weight);
        let total = self.weight.fetch_add(weight - replaced, Relaxed) + weight - replaced;
        if total > self.capacity {
            self.sweep();
        }
    }

    /// Forgets `key`.
    pub(crate) fn remove<Q>(&self, key: &Q)
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        if let Some(entry) = self.entries.pin().remove(key) {
            self.weight.fetch_sub(entry.weight, Relaxed);
        }
    }

    /// The weight of all entries, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.weight.load(Relaxed).try_into().unwrap_or(0)
    }

    /// Makes room for a tenth of the capacity. One writer at a time does it;
    /// the others go on.
    fn sweep(&self) {
        if self.sweeping.swap(true, Relaxed) {
            return;
        }
        for _ in 0..2 {
            for key in self.not_asked_for() {
                if self.weight.load(Relaxed) <= self.capacity / 10 * 9 {
                    break;
                }
                self.remove(&key);
            }
        }
        self.sweeping.store(false, Relaxed);
    }

    /// What nobody has asked for since the last call.
    fn not_asked_for(&self) -> Vec<K> {
        self.entries
            .pin()
            .iter()
            .filter(|(_, entry)| !entry.asked_for.swap(false, Relaxed))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn bytes(length: usize) -> Bytes {
        vec![0; length].into()
    }

    fn by_length(_: &u32, value: &Bytes) -> usize {
        value.len()
    }

    fn sum(cache: &Cache<u32, Bytes>) -> u64 {
        let entries = cache.entries.pin();
        let sum: i64 = entries.iter().map(|(_, entry)| entry.weight).sum();
        sum as u64
    }

    #[test]
    fn the_weight_never_stays_above_the_capacity() {
        let cache = Cache::new(10_000, by_length);

        for key in 0..2_000 {
            cache.insert(key, bytes(100));
            assert!(cache.weight() <= 10_000, "{} bytes", cache.weight());
        }

        assert!(
            cache.entries.len() >= 80,
            "only {} entries are left",
            cache.entries.len()
        );
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let cache = Cache::new(10_000, by_length);
        cache.insert(0, bytes(100));

        for key in 1..2_000 {
            cache.insert(key, bytes(100));
            cache.get(&0);
        }

        assert_eq!(cache.get(&0), Some(bytes(100)));
    }

    #[test]
    fn a_replaced_value_no_longer_weighs() {
        let cache = Cache::new(1_000, by_length);

        for length in [900, 10, 500] {
            cache.insert(1, bytes(length));
        }

        assert_eq!((cache.weight(), cache.entries.len()), (500, 1));
    }

    #[test]
    fn a_value_heavier_than_the_cache_displaces_nothing_else() {
        let cache = Cache::new(100, by_length);
        cache.insert(1, bytes(10));

        cache.insert(2, bytes(101));

        assert!(cache.get(&1).is_some() && cache.get(&2).is_none());
    }

    #[test]
    fn the_weight_is_exact_after_writes_from_many_threads() {
        let cache = Cache::new(50_000, by_length);

        std::thread::scope(|scope| {
            for seed in 0..4 {
                let mut random = fastrand::Rng::with_seed(seed);
                let cache = &cache;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        let key = random.u32(..2_000);
                        match random.u8(..5) {
                            0 => cache.insert(key, bytes(random.usize(..90))),
                            1 => cache.remove(&key),
                            _ => drop(cache.get(&key)),
                        }
                    }
                });
            }
        });

        assert_eq!(sum(&cache), cache.weight());
    }
}
