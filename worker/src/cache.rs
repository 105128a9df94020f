//! A map in memory that never weighs more than its capacity.
//!
//! A read takes no lock and, with a borrowed key, allocates nothing. Writes take
//! a short lock: it holds the order of eviction, which is SIEVE (Zhang et al.,
//! NSDI 2024): new entries are examined in the order of their insertion, those
//! that were read since the last examination stay, the others are evicted. That
//! order must not follow the hashes: if it did, the remaining keys would gather
//! in one part of papaya's table, whose probe limit would then be exceeded
//! however large the table is.
//!
//! Nothing expires by itself: a value that may grow old carries its own time,
//! and what depends on the policy carries the policy's revision in its key.

mod flights;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use papaya::Equivalent;

pub(crate) use self::flights::{Flights, Ticket};

/// The most entries that one write examines and keeps. The next one is evicted
/// even if it was read, so that no write takes long.
const MOST_SPARED: usize = 256;
/// Removed keys are taken out of the order of eviction once there are more of
/// them than of the others, and more than this.
const REMOVED_KEYS: usize = 64;

/// A cache bounded by the weight of its entries, in bytes.
pub(crate) struct Cache<K, V> {
    entries: papaya::HashMap<SharedKey<K>, Entry<V>, ahash::RandomState>,
    weigh: fn(&K, &V) -> usize,
    capacity: u64,
    /// Of all entries, in bytes. Changes under the lock of `order` only.
    weight: AtomicU64,
    order: Mutex<Order<K>>,
}

struct Entry<V> {
    value: V,
    weight: u64,
    /// The number of its place in the order of eviction.
    place: u64,
    /// Whether it was read since it was last examined.
    was_read: AtomicBool,
}

/// A key in the map and in the order of eviction.
struct SharedKey<K>(Arc<K>);

/// A key to look up with.
struct Lookup<'a, Q: ?Sized>(&'a Q);

/// The order of eviction. A place whose entry is no longer in the map, or has
/// another place there, counts for nothing.
struct Order<K> {
    /// To be examined, oldest first. New entries go to the back.
    ahead: VecDeque<(SharedKey<K>, u64)>,
    /// Examined in this round and kept.
    spared: VecDeque<(SharedKey<K>, u64)>,
    next_place: u64,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq,
    V: Clone,
{
    /// A cache for `capacity` bytes, as `weigh` counts them.
    pub(crate) fn new(capacity: u64, weigh: fn(&K, &V) -> usize) -> Self {
        // An evicted value may be large: it is to be freed as soon as no reader
        // looks at it. By default it waits for 31 others, and for as long as a
        // larger table is being filled.
        let collector = seize::Collector::new().batch_size(1);
        Self {
            entries: papaya::HashMap::builder()
                .hasher(ahash::RandomState::new())
                .collector(collector)
                .resize_mode(papaya::ResizeMode::Blocking)
                .build(),
            weigh,
            capacity,
            weight: AtomicU64::new(0),
            order: Mutex::new(Order {
                ahead: VecDeque::new(),
                spared: VecDeque::new(),
                next_place: 0,
            }),
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
        let entry = entries.get(&Lookup(key))?;
        // Most hits find it set, and leave the cache line to the other cores.
        if !entry.was_read.load(Relaxed) {
            entry.was_read.store(true, Relaxed);
        }
        Some(look(&entry.value))
    }

    /// Keeps `value` under `key`, in place of what was there. A value that is
    /// heavier than the whole cache is not kept.
    pub(crate) fn insert(&self, key: K, value: V) {
        let weight = u64::try_from((self.weigh)(&key, &value)).unwrap_or(u64::MAX);
        if weight > self.capacity {
            self.remove(&key);
            return;
        }
        let mut order = self.order();
        let entries = self.entries.pin();
        let replaced = || entries.get(&Lookup(&key)).map_or(0, |old| old.weight);
        let mut spared = 0;
        while self.weight() + weight - replaced() > self.capacity
            && let Some((key, place)) = order.next()
        {
            let Some(entry) = entries.get(&key).filter(|entry| entry.place == place) else {
                continue;
            };
            if spared < MOST_SPARED && entry.was_read.swap(false, Relaxed) {
                order.spared.push_back((key, place));
                spared += 1;
            } else {
                self.weight.fetch_sub(entry.weight, Relaxed);
                entries.remove(&key);
            }
        }
        self.weight.fetch_add(weight, Relaxed);
        self.weight.fetch_sub(replaced(), Relaxed);
        let (key, place, was_read) = match entries.get_key_value(&Lookup(&key)) {
            Some((key, old)) => (key.clone(), old.place, old.was_read.load(Relaxed)),
            None => {
                let key = SharedKey(Arc::new(key));
                (key.clone(), order.append(key), false)
            }
        };
        let entry = Entry {
            value,
            weight,
            place,
            was_read: AtomicBool::new(was_read),
        };
        entries.insert(key, entry);
    }

    /// Forgets `key`.
    pub(crate) fn remove<Q>(&self, key: &Q)
    where
        Q: Equivalent<K> + Hash + ?Sized,
    {
        let mut order = self.order();
        let entries = self.entries.pin();
        if let Some(entry) = entries.remove(&Lookup(key)) {
            self.weight.fetch_sub(entry.weight, Relaxed);
            if order.len() > 2 * entries.len() + REMOVED_KEYS {
                order.retain(|key, place| entries.get(key).is_some_and(|it| it.place == place));
            }
        }
    }

    /// Forgets all entries for which `is_gone` says so.
    pub(crate) fn remove_all(&self, is_gone: impl Fn(&K, &V) -> bool) {
        let entries = self.entries.pin();
        let gone = entries
            .iter()
            .filter(|(key, entry)| is_gone(&key.0, &entry.value));
        for (key, _) in gone {
            self.remove(&*key.0);
        }
    }

    /// The weight of all entries, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.weight.load(Relaxed)
    }

    /// Whole even after a panic: the map decides which places count.
    fn order(&self) -> MutexGuard<'_, Order<K>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Order<K> {
    /// Puts `key` behind all others. Returns its place.
    fn append(&mut self, key: SharedKey<K>) -> u64 {
        self.next_place += 1;
        self.ahead.push_back((key, self.next_place));
        self.next_place
    }

    /// The next one to be examined; after the newest, the oldest again.
    fn next(&mut self) -> Option<(SharedKey<K>, u64)> {
        if self.ahead.is_empty() {
            std::mem::swap(&mut self.ahead, &mut self.spared);
        }
        self.ahead.pop_front()
    }

    fn len(&self) -> usize {
        self.ahead.len() + self.spared.len()
    }

    fn retain(&mut self, keep: impl Fn(&SharedKey<K>, u64) -> bool) {
        self.ahead.retain(|(key, place)| keep(key, *place));
        self.spared.retain(|(key, place)| keep(key, *place));
    }
}

impl<K> Clone for SharedKey<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: PartialEq> PartialEq for SharedKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Eq> Eq for SharedKey<K> {}

impl<K: Hash> Hash for SharedKey<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<Q: Hash + ?Sized> Hash for Lookup<'_, Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K, Q: Equivalent<K> + ?Sized> Equivalent<SharedKey<K>> for Lookup<'_, Q> {
    fn equivalent(&self, key: &SharedKey<K>) -> bool {
        self.0.equivalent(&key.0)
    }
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}
