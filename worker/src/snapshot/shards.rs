//! A map whose versions share what is equal in them.
//!
//! Entries lie in 1,024 shards, reached over two levels of shared pointers. A
//! clone costs one pointer. Changing an entry of a clone copies its shard and
//! the two levels above it, and no other shard: with 100,000 entries about a
//! hundred of them. A look-up takes no lock.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc};

use ahash::RandomState;

/// How many branches each level has.
const WIDTH: usize = 32;
/// The bits of a hash that say which: within a shard, others count.
const ROOT_SHIFT: u32 = 32;
const BRANCH_SHIFT: u32 = 40;

type Shard<K, V> = HashMap<K, V, RandomState>;
type Level<T> = [Arc<T>; WIDTH];

/// The map. Clones of `K` and `V` should be cheap.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    root: Arc<Level<Level<Shard<K, V>>>>,
    hasher: RandomState,
}

impl<K, V> Default for Shards<K, V> {
    /// An empty map. Its empty shards are one.
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = Arc::new(Shard::with_hasher(hasher.clone()));
        let branch = Arc::new([(); WIDTH].map(|()| shard.clone()));
        Self {
            root: Arc::new([(); WIDTH].map(|()| branch.clone())),
            hasher,
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Shards<K, V> {
    /// What is under `key`.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let [first, second] = self.place(key);
        self.root[first][second].get(key)
    }

    /// Puts `value` under `key`. Returns what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.shard_mut(self.place(&key)).insert(key, value)
    }

    /// Removes and returns what is under `key`.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.shard_mut(self.place(key)).remove(key)
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.root
            .iter()
            .flat_map(|branch| branch.iter())
            .flat_map(|shard| shard.iter())
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> [usize; 2] {
        let hash = self.hasher.hash_one(key);
        [ROOT_SHIFT, BRANCH_SHIFT].map(|shift| (hash >> shift) as usize % WIDTH)
    }

    fn shard_mut(&mut self, [first, second]: [usize; 2]) -> &mut Shard<K, V> {
        let branch = Arc::make_mut(&mut Arc::make_mut(&mut self.root)[first]);
        Arc::make_mut(&mut branch[second])
    }
}

#[cfg(test)]
impl<K, V> Shards<K, V> {
    /// How many shards are not those of `other`.
    pub(crate) fn own_shards(&self, other: &Self) -> usize {
        let branches = self.root.iter().zip(other.root.iter());
        let pairs = branches.flat_map(|(own, other)| own.iter().zip(other.iter()));
        pairs
            .filter(|(own, other)| !Arc::ptr_eq(own, other))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> Shards<u32, u32> {
        let mut shards = Shards::default();
        for n in 0..count {
            shards.insert(n, n);
        }
        shards
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_removed() {
        let mut shards = numbers(5_000);

        assert_eq!(shards.insert(7, 70), Some(7));
        assert_eq!(shards.remove(&8), Some(8));

        assert_eq!(shards.get(&7), Some(&70));
        assert_eq!(shards.get(&8), None);
        assert_eq!(shards.remove(&8), None);
        assert_eq!(shards.iter().count(), 4_999);
    }

    #[test]
    fn an_older_version_does_not_see_what_a_newer_one_changes() {
        let old = numbers(5_000);
        let mut new = old.clone();

        new.insert(7, 70);
        new.remove(&8);

        assert_eq!((old.get(&7), old.get(&8)), (Some(&7), Some(&8)));
    }

    #[test]
    fn a_change_copies_one_shard_of_those_it_shares() {
        let old = numbers(5_000);
        let mut new = old.clone();

        new.insert(7, 70);
        new.insert(7, 71);
        new.remove(&10_000);

        assert_eq!(new.own_shards(&old), 1);
    }

    #[test]
    fn entries_are_spread_over_all_shards() {
        let shards = numbers(20_000);

        let branches = shards.root.iter().flat_map(|branch| branch.iter());
        let fullest = branches.map(|shard| shard.len()).max();

        // 20 in the mean; chance gives a fullest of about 38.
        assert!(fullest < Some(80), "{fullest:?}");
    }
}
