//! The policy as the control plane sends it: records by key.

use std::{collections::BTreeMap, sync::Arc};

use metahub_policy::{Cpu, MachineType, Rule};

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
    Recipe(Recipe),
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
}

/// A variant that an admin has chosen for a type and repository.
#[derive(Clone, Debug)]
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

/// How to make a trimmed index again.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "trimmed indexes are not served yet")]
pub(crate) struct Recipe {
    /// The digest of the trimmed index.
    pub(crate) digest: Digest,
    /// The upstream's name.
    pub(crate) upstream: String,
    /// The repository at the upstream.
    pub(crate) repository: Repository,
    /// The digest of the index that was trimmed.
    pub(crate) source_digest: Digest,
    /// The digests of the kept entries, in source order.
    pub(crate) kept: Vec<Digest>,
}

/// What changed between two revisions.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Records that are new or different, by key.
    pub(crate) put: Vec<(String, Record)>,
    /// The keys of records that are gone.
    pub(crate) deleted: Vec<String>,
}

/// All records, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(BTreeMap<String, Arc<Record>>);

impl Records {
    /// The same records with `delta` applied.
    pub(crate) fn with(&self, delta: Delta) -> Self {
        let mut records = self.clone();
        for key in delta.deleted {
            records.0.remove(&key);
        }
        for (key, record) in delta.put {
            records.0.insert(key, Arc::new(record));
        }
        records
    }

    /// The records, in order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.values().map(AsRef::as_ref)
    }
}
