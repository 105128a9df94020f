//! The policy as the control plane sends it: records by key.

use std::{collections::BTreeMap, sync::Arc};

use metahub_policy::{Cpu, Grant, MachineType, Rule, StateDigest};

use super::{SigningKey, shards::Shards};
use crate::{
    purge::Purge,
    reference::{Digest, Repository},
    upstream::Upstream,
};

/// One record, checked by itself.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// A kind of host.
    MachineType(Box<TypeRecord>),
    /// What a host logs in with.
    Login(LoginRecord),
    /// A registry to pull from.
    Upstream(Arc<Upstream>),
    /// Requirements that an admin states.
    Rule(Box<Rule>),
    /// A variant that an admin has chosen.
    Pin(Box<PinRecord>),
    /// A CPU name of the site's own.
    Cpu(Cpu),
    /// How to make a trimmed index again.
    Recipe(Arc<Recipe>),
    /// Cached content to drop.
    Purge(Arc<Purge>),
    /// Repositories that are open to a user, or to all.
    Grant(Grant),
    /// What client tokens are signed with.
    SigningKey(Arc<SigningKey>),
}

/// A kind of host, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct TypeRecord {
    /// What names it.
    pub(crate) name: KindName,
    /// What it is.
    pub(crate) machine_type: MachineType,
}

/// What names a machine type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KindName {
    /// The user that owns it.
    pub(crate) user: Arc<str>,
    /// Its own name.
    pub(crate) name: Arc<str>,
}

/// What a host logs in with.
#[derive(Clone, Debug)]
pub(crate) struct LoginRecord {
    /// `<user>-<type>`.
    pub(crate) name: Arc<str>,
    /// Its machine type.
    pub(crate) kind: KindName,
    /// SHA-256 of its secret.
    pub(crate) secret_sha256: [u8; 32],
    /// Whether the host may add features after `+` in the name.
    pub(crate) allow_selectors: bool,
}

/// A variant that an admin has chosen for a type and repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinRecord {
    /// The machine type.
    pub(crate) kind: KindName,
    /// The repositories: a rule's scope, without requirements.
    pub(crate) scope: Rule,
    /// The chosen entry.
    pub(crate) digest: String,
}

/// What names a recipe. The same bytes in two repositories have two recipes:
/// knowing a digest is no permission.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecipeName {
    /// The digest of the trimmed index.
    pub(crate) digest: Digest,
    /// The upstream's name.
    pub(crate) upstream: Box<str>,
    /// The repository at the upstream.
    pub(crate) repository: Repository,
}

/// How to make a trimmed index again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Which one, and where.
    pub(crate) name: RecipeName,
    /// The digest of the index that was trimmed.
    pub(crate) source_digest: Digest,
    /// The kept entries, in source order.
    pub(crate) kept: Entries,
    /// The user of the machine type that it was recorded for. Empty: not known.
    pub(crate) user: Arc<str>,
    /// When the control plane last noted a use, in seconds since 1970.
    pub(crate) last_used: u64,
}

/// Entries of a source index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// Their places among all entries.
    Places(Box<[u16]>),
    /// Their digests: of recipes that were recorded by earlier releases.
    Digests(Box<[Digest]>),
}

impl Recipe {
    /// What it takes of memory, with the record that it comes in, in bytes,
    /// about.
    pub(crate) fn weight(&self) -> usize {
        let name = &self.name;
        let names =
            name.digest.as_str().len() + name.upstream.len() + name.repository.as_str().len();
        let kept = match &self.kept {
            Entries::Places(places) => size_of_val(&**places),
            Entries::Digests(digests) => digests.iter().map(|it| 32 + it.as_str().len()).sum(),
        };
        size_of::<Self>() + 2 * size_of::<RecipeName>() + 256 + 3 * names + kept
    }
}

/// What changed between two revisions.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Records that are new or different, by key.
    pub(crate) put: Vec<(String, Entry)>,
    /// The keys of records that are gone.
    pub(crate) deleted: Vec<String>,
}

/// One record, and what it adds to the digest of all.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `None`: of a kind that this worker does not know.
    pub(crate) record: Option<Record>,
    /// Of its encoding.
    pub(crate) digest: StateDigest,
}

/// All records, by key. A clone is cheap, and does not see later changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// Those that all logins depend on. There are few, and their order counts.
    ground: Arc<BTreeMap<Arc<str>, Arc<Entry>>>,
    others: Shards<Arc<str>, Arc<Entry>>,
    digest: StateDigest,
}

/// What a change did to one record.
#[derive(Debug)]
pub(crate) struct Edit {
    /// Its key.
    pub(crate) key: Arc<str>,
    /// `None`: it is new.
    pub(crate) before: Option<Arc<Entry>>,
    /// `None`: it is gone.
    pub(crate) after: Option<Arc<Entry>>,
}

impl Record {
    /// Whether it is one of those that all logins depend on.
    pub(super) fn is_ground(&self) -> bool {
        match self {
            Self::Upstream(_) | Self::Rule(_) | Self::Cpu(_) | Self::SigningKey(_) => true,
            Self::MachineType(_)
            | Self::Login(_)
            | Self::Pin(_)
            | Self::Recipe(_)
            | Self::Purge(_)
            | Self::Grant(_) => false,
        }
    }
}

impl Entry {
    pub(super) fn is_ground(&self) -> bool {
        self.record.as_ref().is_some_and(Record::is_ground)
    }
}

impl Edit {
    /// The record that was, if it is of a known kind.
    pub(super) fn before(&self) -> Option<&Record> {
        self.before.as_ref()?.record.as_ref()
    }

    /// The record that is, if it is of a known kind.
    pub(super) fn after(&self) -> Option<&Record> {
        self.after.as_ref()?.record.as_ref()
    }

    /// Whether it is about what all logins depend on.
    pub(super) fn is_ground(&self) -> bool {
        let records = [self.before(), self.after()];
        records.into_iter().flatten().any(Record::is_ground)
    }
}

impl Records {
    /// Applies a change, and tells what that did, in order.
    pub(crate) fn apply(&mut self, delta: Delta) -> Vec<Edit> {
        let gone = delta.deleted.into_iter().map(|key| (key, None));
        let put = delta.put.into_iter().map(|(key, it)| (key, Some(it)));
        gone.chain(put)
            .map(|(key, entry)| self.set(key.into(), entry.map(Arc::new)))
            .collect()
    }

    /// What all records amount to.
    pub(crate) fn digest(&self) -> StateDigest {
        self.digest
    }

    /// The records that all logins depend on, in order of their keys.
    pub(super) fn ground(&self) -> impl Iterator<Item = &Record> {
        let entries = self.ground.values();
        entries.filter_map(|entry| entry.record.as_ref())
    }

    /// The others, in no order.
    pub(super) fn others(&self) -> impl Iterator<Item = (&Arc<str>, &Record)> {
        let entries = self.others.iter();
        entries.filter_map(|(key, entry)| Some((key, entry.record.as_ref()?)))
    }

    /// Puts an entry under `key`, or takes away what is there.
    fn set(&mut self, key: Arc<str>, after: Option<Arc<Entry>>) -> Edit {
        let before = self.take(&key);
        if let Some(entry) = &after {
            self.digest += entry.digest;
            if entry.is_ground() {
                Arc::make_mut(&mut self.ground).insert(key.clone(), entry.clone());
            } else {
                self.others.insert(key.clone(), entry.clone());
            }
        }
        Edit { key, before, after }
    }

    fn take(&mut self, key: &str) -> Option<Arc<Entry>> {
        let entry = match self.ground.contains_key(key) {
            true => Arc::make_mut(&mut self.ground).remove(key),
            false => self.others.remove(key),
        }?;
        self.digest -= entry.digest;
        Some(entry)
    }
}

#[cfg(test)]
impl Records {
    /// How many shards are not those of `other`.
    pub(super) fn own_shards(&self, other: &Self) -> usize {
        self.others.own_shards(&other.others)
    }
}

impl FromIterator<(String, Entry)> for Records {
    fn from_iter<I: IntoIterator<Item = (String, Entry)>>(entries: I) -> Self {
        let mut records = Self::default();
        for (key, entry) in entries {
            records.set(key.into(), Some(Arc::new(entry)));
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(name: &str) -> Entry {
        let record = Record::Cpu(Cpu {
            name: name.into(),
            parents: Vec::new(),
            features: Vec::new(),
            aliases: Vec::new(),
        });
        Entry {
            record: Some(record),
            digest: StateDigest::of(name.as_bytes()),
        }
    }

    #[test]
    fn a_change_shows_in_the_records_and_not_in_a_clone_from_before() {
        let before = [("a", "old"), ("b", "old")];
        let entries = before.map(|(key, name)| (key.to_owned(), cpu(name)));
        let old: Records = entries.into_iter().collect();
        let digest = old.digest();

        let mut new = old.clone();
        let edits = new.apply(Delta {
            deleted: vec!["a".into(), "missing".into()],
            put: vec![
                ("b".into(), cpu("new")),
                ("c".into(), cpu("new")),
                ("c".into(), cpu("newer")),
            ],
        });

        let names = |records: &Records| -> Vec<String> {
            let cpus = records.ground().map(|record| match record {
                Record::Cpu(cpu) => cpu.name.clone(),
                other => panic!("{other:?}"),
            });
            cpus.collect()
        };
        assert_eq!(names(&old), ["old", "old"]);
        assert_eq!(names(&new), ["new", "newer"]);
        assert_eq!(edits.len(), 5);
        assert!(edits[1].before.is_none() && edits[1].after.is_none());
        let fresh: Records = [("b", "new"), ("c", "newer")]
            .map(|(key, name)| (key.to_owned(), cpu(name)))
            .into_iter()
            .collect();
        assert_eq!((old.digest(), new.digest()), (digest, fresh.digest()));
    }
}
