//! The policy as the control plane sends it: records by key.

use std::{collections::BTreeMap, sync::Arc};

use metahub_policy::{Cpu, Grant, MachineType, Rule, StateDigest};

use super::SigningKey;
use crate::{
    reference::{Digest, Repository},
    upstream::Upstream,
};

/// One record, checked by itself.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// A kind of host.
    MachineType(TypeRecord),
    /// What a host logs in with.
    Login(LoginRecord),
    /// A registry to pull from.
    Upstream(Arc<Upstream>),
    /// Requirements that an admin states.
    Rule(Rule),
    /// A variant that an admin has chosen.
    Pin(PinRecord),
    /// A CPU name of the site's own.
    Cpu(Cpu),
    /// How to make a trimmed index again.
    Recipe(Arc<Recipe>),
    /// Repositories that are open to a user, or to all.
    Grant(Grant),
    /// What client tokens are signed with.
    SigningKey(Arc<SigningKey>),
}

/// A kind of host, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct TypeRecord {
    /// The user that owns it.
    pub(crate) user: String,
    /// Its name, unique for the user.
    pub(crate) name: String,
    /// What it is.
    pub(crate) machine_type: MachineType,
}

/// What a host logs in with.
#[derive(Clone, Debug)]
pub(crate) struct LoginRecord {
    /// `<user>-<type>`.
    pub(crate) name: String,
    /// The user that owns it.
    pub(crate) user: String,
    /// The name of its machine type.
    pub(crate) machine_type: String,
    /// SHA-256 of its secret.
    pub(crate) secret_sha256: [u8; 32],
    /// Whether the host may add features after `+` in the name.
    pub(crate) allow_selectors: bool,
}

/// A variant that an admin has chosen for a type and repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinRecord {
    /// The user that owns the type.
    pub(crate) user: String,
    /// The machine type's name.
    pub(crate) machine_type: String,
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
    /// The digests of the kept entries, in source order.
    pub(crate) kept: Vec<Digest>,
    /// When the control plane last noted a use, in seconds since 1970.
    pub(crate) last_used: u64,
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
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `None`: of a kind that this worker does not know.
    pub(crate) record: Option<Record>,
    /// Of its encoding.
    pub(crate) digest: StateDigest,
}

/// All records, by key.
#[derive(Debug, Default)]
pub(crate) struct Records {
    entries: BTreeMap<String, Entry>,
    digest: StateDigest,
}

/// What takes a change back: each key with what it held before.
#[derive(Debug)]
pub(crate) struct Undo(Vec<(String, Option<Entry>)>);

impl Records {
    /// Applies a change.
    pub(crate) fn apply(&mut self, delta: Delta) -> Undo {
        let mut undo = Vec::with_capacity(delta.deleted.len() + delta.put.len());
        for key in delta.deleted {
            let before = self.set(key.clone(), None);
            undo.push((key, before));
        }
        for (key, entry) in delta.put {
            let before = self.set(key.clone(), Some(entry));
            undo.push((key, before));
        }
        Undo(undo)
    }

    /// Takes the last change back.
    pub(crate) fn undo(&mut self, undo: Undo) {
        for (key, before) in undo.0.into_iter().rev() {
            self.set(key, before);
        }
    }

    /// What all records amount to.
    pub(crate) fn digest(&self) -> StateDigest {
        self.digest
    }

    /// The records, in order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.entries
            .values()
            .filter_map(|entry| entry.record.as_ref())
    }

    /// Puts `entry` under `key`, or nothing. Returns what was there.
    fn set(&mut self, key: String, entry: Option<Entry>) -> Option<Entry> {
        if let Some(entry) = &entry {
            self.digest += entry.digest;
        }
        let before = match entry {
            Some(entry) => self.entries.insert(key, entry),
            None => self.entries.remove(&key),
        };
        if let Some(before) = &before {
            self.digest -= before.digest;
        }
        before
    }
}

impl FromIterator<(String, Entry)> for Records {
    fn from_iter<I: IntoIterator<Item = (String, Entry)>>(entries: I) -> Self {
        let mut records = Self::default();
        for (key, entry) in entries {
            records.set(key, Some(entry));
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
    fn a_change_that_is_taken_back_leaves_no_trace() {
        let before = [("a", "old"), ("b", "old")];
        let mut records: Records = before
            .map(|(key, name)| (key.to_owned(), cpu(name)))
            .into_iter()
            .collect();
        let untouched = format!("{records:?}");

        let undo = records.apply(Delta {
            deleted: vec!["a".into(), "missing".into()],
            put: vec![
                ("a".into(), cpu("new")),
                ("b".into(), cpu("new")),
                ("c".into(), cpu("new")),
                ("c".into(), cpu("newer")),
            ],
        });
        assert_ne!(format!("{records:?}"), untouched);
        records.undo(undo);

        assert_eq!(format!("{records:?}"), untouched);
    }
}
