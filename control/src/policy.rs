//! One complete view of the policy. Never changed: a commit makes the next.
//!
//! Records sit in one table for each kind, of which the views share all that a
//! commit does not touch: it costs what it changes, and not what there is.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use metahub_policy::StateDigest;

use self::table::Table;
use crate::{
    convert,
    records::{Kept, Key, Kind, Record},
    store::{Commit, Contents, Revision},
};

mod table;

/// How many changed keys a view remembers, over all recent revisions.
const REMEMBERED_KEYS: usize = 20_000;
/// How many recent revisions a view remembers.
const REMEMBERED_REVISIONS: usize = 1_000;

/// Every record at one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) revision: Revision,
    /// Of all that workers hold at this revision.
    pub(crate) digest: StateDigest,
    tables: BTreeMap<Kind, Arc<Table>>,
    /// Oldest first, without a gap, up to `revision`.
    recent: VecDeque<Arc<RecentRevision>>,
    /// How many keys those have changed.
    remembered: usize,
}

/// What one revision changed, and when.
#[derive(Debug)]
struct RecentRevision {
    number: u64,
    keys: Vec<Key>,
    at: Instant,
    /// `None`: made before this process began.
    digest: Option<StateDigest>,
}

impl Policy {
    /// What a store holds. Its recent revisions count as made just now.
    pub(crate) fn new(contents: Contents) -> Self {
        let mut policy = Self {
            revision: contents.revision,
            ..Self::default()
        };
        for (key, record) in contents.records {
            policy.digest += convert::record_digest(&key, &record);
            policy.table_mut(key.kind()).insert(key, Arc::new(record));
        }
        for (number, keys) in contents.recent {
            let is_newest = number == policy.revision.number;
            policy.remember(number, keys, is_newest.then_some(policy.digest));
        }
        policy
    }

    /// The view after `commit`, which must be the next one.
    pub(crate) fn after(&self, commit: &Commit) -> Self {
        let mut next = self.clone();
        next.revision = commit.revision;
        for change in commit.changes.iter() {
            if let Some(record) = self.get(&change.key) {
                next.digest -= convert::record_digest(&change.key, record);
            }
            if let Some(record) = &change.after {
                next.digest += convert::record_digest(&change.key, record);
            }
            let table = next.table_mut(change.key.kind());
            match &change.after {
                Some(record) => table.insert(change.key.clone(), record.clone()),
                None => table.remove(&change.key),
            };
        }
        let keys = commit.changes.iter().map(|change| change.key.clone());
        next.remember(commit.revision.number, keys.collect(), Some(next.digest));
        next
    }

    /// The record under `key`, as itself.
    pub(crate) fn find<T: Kept>(&self, key: &Key) -> Option<&T> {
        self.get(key).and_then(|record| T::of(record))
    }

    /// All records of one kind, as themselves, by key.
    pub(crate) fn all<'a, T: Kept + 'a>(&'a self) -> impl Iterator<Item = &'a T> {
        self.of_kind(T::KIND)
            .filter_map(|(_, record)| T::of(record))
    }

    /// The record under `key`.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        self.tables.get(&key.kind())?.get(key)
    }

    /// All records of a kind, by key.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.tables.get(&kind).into_iter().flat_map(|it| it.iter())
    }

    /// All records whose keys start as `start` does.
    pub(crate) fn starting_with(&self, start: &Key) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        self.tables
            .get(&start.kind())
            .into_iter()
            .flat_map(|table| table.from(start))
            .take_while(|(key, _)| key.as_str().starts_with(start.as_str()))
    }

    /// How many records of a kind there are.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.tables.get(&kind).map_or(0, |table| table.len())
    }

    /// What workers hold, in the order in which they get it.
    pub(crate) fn for_workers(&self) -> impl Iterator<Item = (&Key, &Arc<Record>)> {
        Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_for_workers())
            .flat_map(|kind| self.of_kind(kind))
    }

    /// The keys that changed after `held`. `None` when that is not known, since
    /// it is of another history or too long ago.
    pub(crate) fn changed_since(&self, held: Revision) -> Option<BTreeSet<&Key>> {
        if held == self.revision {
            return Some(BTreeSet::new());
        }
        let first = self.recent.front()?.number;
        let is_known = held.epoch == self.revision.epoch
            && held.number < self.revision.number
            && held.number + 1 >= first;
        is_known.then(|| {
            let missed = self.recent.iter().filter(|it| it.number > held.number);
            missed.flat_map(|revision| &revision.keys).collect()
        })
    }

    /// The digest of what workers hold at `held`. `None`: that is not known.
    pub(crate) fn digest_at(&self, held: Revision) -> Option<StateDigest> {
        if held == self.revision {
            return Some(self.digest);
        }
        self.recent(held.epoch, held.number)?.digest
    }

    /// When the first revision after `held` was made: since when one who serves
    /// `held` is behind. `None` when they are not, or that is not known.
    pub(crate) fn outdated_since(&self, held: Revision) -> Option<Instant> {
        let oldest = self.recent.front()?.number;
        let next = held.number.saturating_add(1).max(oldest);
        self.recent(held.epoch, next).map(|revision| revision.at)
    }

    fn recent(&self, epoch: u64, number: u64) -> Option<&RecentRevision> {
        let place = number.checked_sub(self.recent.front()?.number)?;
        let found = self.recent.get(usize::try_from(place).ok()?);
        found
            .filter(|_| epoch == self.revision.epoch)
            .map(|it| &**it)
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        Arc::make_mut(self.tables.entry(kind).or_default())
    }

    fn remember(&mut self, number: u64, keys: Vec<Key>, digest: Option<StateDigest>) {
        self.remembered += keys.len();
        self.recent.push_back(Arc::new(RecentRevision {
            number,
            keys,
            at: Instant::now(),
            digest,
        }));
        while self.recent.len() > REMEMBERED_REVISIONS || self.remembered > REMEMBERED_KEYS {
            let forgotten = self.recent.pop_front();
            self.remembered -= forgotten.map_or(self.remembered, |it| it.keys.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        records::{Login, User},
        store::Change,
    };

    fn commit(number: u64, record: Record) -> Commit {
        Commit {
            revision: Revision { epoch: 7, number },
            changes: [Change {
                key: record.key(),
                before: None,
                after: Some(Arc::new(record)),
            }]
            .into(),
        }
    }

    fn user(name: &str) -> Record {
        Record::User(User {
            name: name.into(),
            password_hash: None,
        })
    }

    fn login(user: &str) -> Record {
        with_secret(user, "00")
    }

    fn with_secret(user: &str, sha256: &str) -> Record {
        Record::Login(Login {
            user: user.into(),
            machine_type: "type1".into(),
            secret_sha256: sha256.to_owned().into(),
            allow_selectors: false,
            label: None,
            host: None,
        })
    }

    fn at(number: u64) -> Revision {
        Revision { epoch: 7, number }
    }

    #[test]
    fn an_older_view_does_not_see_a_later_commit() {
        let first = Policy::default().after(&commit(1, user("qnib")));

        let second = first.after(&commit(2, user("moby")));

        assert_eq!(first.count(Kind::User), 1);
        assert_eq!(second.count(Kind::User), 2);
    }

    #[test]
    fn users_are_not_for_workers() {
        let policy = Policy::default()
            .after(&commit(1, user("qnib")))
            .after(&commit(2, login("qnib")));

        let kinds: Vec<Kind> = policy.for_workers().map(|(key, _)| key.kind()).collect();

        assert_eq!(kinds, [Kind::Login]);
    }

    #[test]
    fn what_changed_is_known_back_to_the_first_remembered_revision() {
        let policy = Policy::default()
            .after(&commit(5, user("qnib")))
            .after(&commit(6, login("qnib")));

        assert_eq!(policy.changed_since(at(6)).map(|it| it.len()), Some(0));
        assert_eq!(policy.changed_since(at(4)).map(|it| it.len()), Some(2));
        assert_eq!(policy.changed_since(at(3)), None);
    }

    #[test]
    fn a_number_of_another_history_says_nothing() {
        let policy = Policy::default().after(&commit(1, user("qnib")));

        let held = Revision {
            epoch: 8,
            number: 0,
        };

        assert_eq!(policy.changed_since(held), None);
        assert_eq!(policy.changed_since(at(2)), None);
    }

    #[test]
    fn the_digest_after_changes_is_that_of_what_is_left() {
        let gone = Change {
            key: Key::login("qnib-type1"),
            before: None,
            after: None,
        };
        let mut rotated = commit(4, login("moby"));
        rotated.changes = [
            gone,
            Change {
                key: Key::login("moby-type1"),
                before: None,
                after: Some(Arc::new(with_secret("moby", "01"))),
            },
        ]
        .into();

        let policy = Policy::default()
            .after(&commit(1, user("qnib")))
            .after(&commit(2, login("qnib")))
            .after(&commit(3, login("moby")))
            .after(&rotated);

        let left = Policy::new(Contents {
            revision: at(4),
            records: vec![(Key::login("moby-type1"), with_secret("moby", "01"))],
            recent: Vec::new(),
        });
        assert_eq!(policy.digest, left.digest);
        assert_ne!(policy.digest_at(at(3)), Some(policy.digest));
        assert_eq!(policy.digest_at(at(1)), Some(StateDigest::default()));
        assert_eq!(policy.digest_at(at(0)), None);
    }

    #[test]
    fn memory_of_changes_is_bounded() {
        let policy = (1..=1_500).fold(Policy::default(), |policy, number| {
            policy.after(&commit(number, user("qnib")))
        });

        assert_eq!(policy.recent.len(), REMEMBERED_REVISIONS);
    }

    #[test]
    fn records_are_found_by_the_start_of_their_key() {
        let policy = Policy::default()
            .after(&commit(1, login("qnib")))
            .after(&commit(2, login("qnibs")));

        assert_eq!(policy.starting_with(&Key::login("qnib-")).count(), 1);
    }
}
