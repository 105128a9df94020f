//! Tests of the cache: weight, eviction, and turnover.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;

use super::*;

/// A value that counts the bytes that are in memory.
#[derive(Clone)]
struct Counted(Arc<InMemory>);

struct InMemory {
    bytes: usize,
    sum: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: usize, sum: &Arc<AtomicUsize>) -> Self {
        sum.fetch_add(bytes, Relaxed);
        let sum = Arc::clone(sum);
        Self(Arc::new(InMemory { bytes, sum }))
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Relaxed);
    }
}

fn bytes(length: usize) -> Bytes {
    vec![0; length].into()
}

fn by_length(_: &u32, value: &Bytes) -> usize {
    value.len()
}

fn sum(cache: &Cache<u32, Bytes>) -> u64 {
    let entries = cache.entries.pin();
    entries.iter().map(|(_, entry)| entry.weight).sum()
}

const ENTRIES: usize = 10_000;
const WEIGHT: usize = 100;
const CAPACITY: usize = ENTRIES * WEIGHT;

/// Turns a cache of `ENTRIES` entries over 50 times by `threads` threads.
/// Returns the most bytes that were in memory after a write, and those that are
/// in the end. `None`: it took longer than a minute.
fn turn_over(threads: usize) -> Option<(usize, usize)> {
    let (sender, finished) = mpsc::channel();
    let memory = Arc::new(AtomicUsize::new(0));
    let cache = Cache::new(CAPACITY as u64, |_: &(usize, usize), it: &Counted| {
        it.0.bytes
    });
    let cache = Arc::new(cache);
    for thread in 0..threads {
        let (cache, memory, sender) = (cache.clone(), memory.clone(), sender.clone());
        // Not scoped: a thread that does not end must not keep the test from
        // failing.
        thread::spawn(move || {
            let mut most = 0;
            for i in 0..50 * ENTRIES / threads {
                cache.insert((thread, i), Counted::new(WEIGHT, &memory));
                cache.get(&(thread, i / 2));
                assert!(cache.weight() <= CAPACITY as u64);
                most = most.max(memory.load(Relaxed));
            }
            sender.send(most).unwrap();
        });
    }
    let mut most = 0;
    for _ in 0..threads {
        most = most.max(finished.recv_timeout(Duration::from_secs(60)).ok()?);
    }
    Some((most, memory.load(Relaxed)))
}

#[test]
fn a_cache_that_is_turned_over_fifty_times_stays_within_time_and_memory() {
    let (most, last) = turn_over(1).expect("one thread did not end");

    assert!(most <= CAPACITY + CAPACITY / 100, "{most} bytes");
    assert!(last > CAPACITY / 2, "{last} bytes");
}

#[test]
fn a_cache_that_four_threads_turn_over_fifty_times_stays_within_time_and_memory() {
    // A thread that is interrupted while it reads holds up what is freed, so
    // the most that was in memory depends on the machine.
    let (_, last) = turn_over(4).expect("four threads did not end");

    assert!(last <= CAPACITY + CAPACITY / 100, "{last} bytes");
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
fn a_new_working_set_takes_the_place_of_one_that_is_no_longer_read() {
    let cache = Cache::new(10_000, by_length);
    for key in 0..100 {
        cache.insert(key, bytes(100));
        cache.get(&key);
    }

    for _ in 0..10 {
        for key in 1_000..1_050 {
            if cache.get(&key).is_none() {
                cache.insert(key, bytes(100));
            }
        }
    }

    assert!((1_000..1_050).all(|key| cache.get(&key).is_some()));
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
fn the_order_of_eviction_does_not_grow_with_replaced_and_removed_keys() {
    let cache = Cache::new(10_000, by_length);

    for round in 0..1_000 {
        cache.insert(round % 7, bytes(10));
        cache.insert(100, bytes(10));
        cache.remove(&100);
    }

    let places = cache.order().len();
    assert!(places <= 100, "{places} places for 7 entries");
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

/// The share of hits of a cache of `entries` entries that weigh one.
fn hits(trace: &[u32], entries: u64) -> f64 {
    let cache = Cache::new(entries, |_: &u32, ()| 1);
    let hit = |key: &&u32| {
        let hit = cache.get(*key).is_some();
        if !hit {
            cache.insert(**key, ());
        }
        hit
    };
    trace.iter().filter(hit).count() as f64 / trace.len() as f64
}

/// The same, where the least recently used entry is evicted.
fn least_recently_used_hits(trace: &[u32], entries: usize) -> f64 {
    let (mut uses, mut by_use) = (HashMap::new(), BTreeMap::new());
    let mut hits = 0;
    for (now, key) in trace.iter().enumerate() {
        if let Some(before) = uses.insert(*key, now) {
            by_use.remove(&before);
            hits += 1;
        }
        by_use.insert(now, *key);
        if uses.len() > entries {
            let (_, oldest) = by_use.pop_first().unwrap();
            uses.remove(&oldest);
        }
    }
    f64::from(hits) / trace.len() as f64
}

/// `length` keys of `0..keys`; key n is as frequent as 1 / (n + 1).
fn zipf(keys: u32, length: usize) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(7);
    let sums: Vec<f64> = (1..=keys)
        .scan(0.0, |sum, n| {
            *sum += 1.0 / f64::from(n);
            Some(*sum)
        })
        .collect();
    let whole = sums[sums.len() - 1];
    (0..length)
        .map(|_| {
            let at = random.f64() * whole;
            sums.partition_point(|sum| *sum < at) as u32
        })
        .collect()
}

#[test]
fn under_zipf_there_are_more_hits_than_with_least_recently_used() {
    let trace = zipf(20_000, 100_000);
    for entries in [200, 2_000] {
        let (hits, plain) = (
            hits(&trace, entries),
            least_recently_used_hits(&trace, entries as usize),
        );

        assert!(hits > plain + 0.02, "{entries}: {hits} against {plain}");
    }
}
