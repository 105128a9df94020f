//! Records in order of their keys, in versions that share what is equal.
//!
//! A table is a list of chunks of at most 256 records. A clone copies the list,
//! a change of the clone one chunk: with 100,000 records about 500 pointers and
//! 200 records, not 100,000.

use std::sync::Arc;

use crate::records::{Key, Record};

/// A chunk with more records is cut in half.
const LARGEST: usize = 256;
/// Two neighbours with fewer records together are made one.
const SMALLEST: usize = LARGEST / 4;

type Chunk = Vec<(Key, Arc<Record>)>;

/// The records of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// None is empty.
    chunks: Vec<Arc<Chunk>>,
    count: usize,
}

impl Table {
    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The record under `key`.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let place = find(chunk, key).ok()?;
        Some(&chunk[place].1)
    }

    /// Puts a record under `key`, in place of the one that is there.
    pub(super) fn insert(&mut self, key: Key, record: Arc<Record>) {
        let index = self.chunk_of(&key);
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        let chunk = Arc::make_mut(&mut self.chunks[index]);
        match find(chunk, &key) {
            Ok(place) => chunk[place].1 = record,
            Err(place) => {
                chunk.insert(place, (key, record));
                self.count += 1;
            }
        }
        if chunk.len() > LARGEST {
            let rest = chunk.split_off(LARGEST / 2);
            self.chunks.insert(index + 1, Arc::new(rest));
        }
    }

    /// Removes the record under `key`, if there is one.
    pub(super) fn remove(&mut self, key: &Key) {
        let index = self.chunk_of(key);
        let Some(chunk) = self.chunks.get_mut(index) else {
            return;
        };
        let Ok(place) = find(chunk, key) else { return };
        let chunk = Arc::make_mut(chunk);
        chunk.remove(place);
        self.count -= 1;
        if chunk.is_empty() {
            self.chunks.remove(index);
            return;
        }
        self.join(index);
        self.join(index.wrapping_sub(1));
    }

    /// All records, in order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.in_chunks(0).map(|(key, record)| (key, record))
    }

    /// All records from `start` on, in order of their keys.
    pub(super) fn from(&self, start: &Key) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        let start = start.clone();
        self.in_chunks(self.chunk_of(&start))
            .skip_while(move |(key, _)| *key < start)
            .map(|(key, record)| (key, record))
    }

    fn in_chunks(&self, first: usize) -> impl Iterator<Item = &(Key, Arc<Record>)> {
        let chunks = self.chunks.iter().skip(first);
        chunks.flat_map(|chunk| chunk.iter())
    }

    /// The chunk that `key` is in, or would be.
    fn chunk_of(&self, key: &Key) -> usize {
        let after = self.chunks.partition_point(|chunk| chunk[0].0 <= *key);
        after.saturating_sub(1)
    }

    /// Joins a chunk with the one after it, if both are there and small.
    fn join(&mut self, index: usize) {
        let next = index.wrapping_add(1);
        let (Some(own), Some(other)) = (self.chunks.get(index), self.chunks.get(next)) else {
            return;
        };
        if own.len() + other.len() < SMALLEST {
            let other = self.chunks.remove(next);
            let own = Arc::make_mut(&mut self.chunks[index]);
            own.extend(other.iter().cloned());
        }
    }
}

fn find(chunk: &Chunk, key: &Key) -> Result<usize, usize> {
    chunk.binary_search_by(|(own, _)| own.cmp(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::records::User;

    fn user(name: &str) -> Arc<Record> {
        Arc::new(Record::User(User {
            name: name.into(),
            password_hash: None,
        }))
    }

    /// A number below `limit`, and the next state of a simple generator.
    fn next(state: &mut u64, limit: u64) -> u64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) % limit
    }

    fn filled(count: usize) -> Table {
        let mut table = Table::default();
        for n in 0..count {
            table.insert(Key::user(&format!("{n:05}")), user("a"));
        }
        table
    }

    #[test]
    fn after_any_changes_a_table_holds_what_a_map_would() {
        let (mut table, mut map, mut state) = (Table::default(), BTreeMap::new(), 1);

        for round in 0..20_000_u64 {
            let key = Key::user(&next(&mut state, 3_000).to_string());
            // Grows at first, and shrinks to little at last.
            let grows = next(&mut state, 20_000) > round;
            if grows {
                let record = user(&round.to_string());
                table.insert(key.clone(), record.clone());
                map.insert(key, record);
            } else {
                table.remove(&key);
                map.remove(&key);
            }
            assert_eq!(table.len(), map.len());
        }

        assert!(table.iter().eq(map.iter()));
        assert!(
            table
                .chunks
                .iter()
                .all(|it| !it.is_empty() && it.len() <= LARGEST)
        );
        let start = Key::user("15");
        assert!(table.from(&start).eq(map.range(start.clone()..)));
        assert!(map.iter().all(|(key, it)| table.get(key) == Some(it)));
    }

    #[test]
    fn a_change_copies_one_chunk_and_leaves_the_version_before_alone() {
        let old = filled(5_000);
        let mut new = old.clone();
        let key = Key::user("03000");

        new.insert(key.clone(), user("b"));

        let pairs = new.chunks.iter().zip(&old.chunks);
        let own = pairs.filter(|(new, old)| !Arc::ptr_eq(new, old));
        assert_eq!(own.count(), 1);
        assert_eq!(
            (new.get(&key), old.get(&key)),
            (Some(&user("b")), Some(&user("a")))
        );
    }

    #[test]
    fn chunks_that_have_become_small_are_joined() {
        let mut table = filled(5_000);

        for n in 0..5_000 {
            if n % 100 != 0 {
                table.remove(&Key::user(&format!("{n:05}")));
            }
        }

        assert_eq!(table.len(), 50);
        assert!(table.chunks.len() <= 4, "{}", table.chunks.len());
    }
}
