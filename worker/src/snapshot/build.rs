//! Makes a snapshot: of all records, or of the one before and what changed.

use std::{collections::HashMap, sync::Arc};

use metahub_policy::{InvalidCpu, InvalidMachineType, InvalidRule, MachineType};

use super::{
    Edit, Grants, Ground, KindName, LoginRecord, PinRecord, Pins, Record, Records, Revision,
    Shards, Snapshot, StoredLogin, kinds::Workshop,
};

/// Records that do not make a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InvalidPolicy {
    /// A machine type cannot be used.
    #[error("machine type `{name}`: {source}")]
    MachineType {
        /// `<user>-<type>`.
        name: String,
        source: InvalidMachineType,
    },
    /// A rule cannot be used.
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    /// A CPU name cannot be used.
    #[error(transparent)]
    Cpu(#[from] InvalidCpu),
}

/// Makes the snapshot of `records`. Takes over what `previous` has worked out
/// already and what has not changed since.
pub(crate) fn build(
    revision: Revision,
    records: &Records,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, InvalidPolicy> {
    let ground = Ground::new(records, previous.map(|it| &*it.ground))?;
    let mut draft = Draft {
        snapshot: Snapshot::empty(revision, ground),
        base: None,
        previous,
        types: HashMap::new(),
    };
    for (key, record) in records.others() {
        draft.add(key, record);
    }
    draft.finish()
}

/// Makes the snapshot of `records`, which `edits` have made of those that
/// `previous` was made of. Costs what was edited.
pub(crate) fn update(
    revision: Revision,
    records: &Records,
    edits: &[Edit],
    previous: &Snapshot,
) -> Result<Snapshot, InvalidPolicy> {
    let mut next = previous.clone();
    next.revision = revision;
    if edits.iter().any(Edit::is_ground) {
        next.ground = Arc::new(Ground::new(records, Some(&*previous.ground))?);
    }
    let mut draft = Draft {
        snapshot: next,
        base: Some(previous),
        previous: Some(previous),
        types: HashMap::new(),
    };
    for edit in edits {
        if let Some(record) = edit.before() {
            draft.remove(&edit.key, record);
        }
        if let Some(record) = edit.after() {
            draft.add(&edit.key, record);
        }
    }
    draft.finish()
}

/// A snapshot while it is made.
struct Draft<'a> {
    snapshot: Snapshot,
    /// What it was at first. `None`: empty.
    base: Option<&'a Snapshot>,
    /// What to take over from.
    previous: Option<&'a Snapshot>,
    /// Machine types to make anew. `None`: it is gone.
    types: HashMap<KindName, Option<&'a MachineType>>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, key: &Arc<str>, record: &'a Record) {
        match record {
            Record::MachineType(it) => {
                self.types.insert(it.name.clone(), Some(&it.machine_type));
            }
            Record::Login(login) => self.add_login(login),
            Record::Pin(pin) => self.edit_pins(pin, |pins| {
                pins.insert(key.clone(), (**pin).clone());
            }),
            Record::Grant(grant) => self.snapshot.grants.add(key.clone(), grant),
            Record::Recipe(recipe) => {
                self.snapshot.recipe_count += 1;
                self.snapshot.recipe_bytes += recipe.weight();
                let name = recipe.name.clone();
                self.snapshot.recipes.insert(name, recipe.clone());
            }
            Record::Purge(purge) => {
                let purges = Arc::make_mut(&mut self.snapshot.purges);
                purges.insert(key.clone(), purge.clone());
            }
            Record::Upstream(_) | Record::Rule(_) | Record::Cpu(_) | Record::SigningKey(_) => {}
        }
    }

    fn remove(&mut self, key: &str, record: &'a Record) {
        match record {
            Record::MachineType(it) => {
                self.types.insert(it.name.clone(), None);
            }
            Record::Login(login) => {
                self.snapshot.logins.remove(&*login.name);
            }
            Record::Pin(pin) => self.edit_pins(pin, |pins| {
                pins.remove(key);
            }),
            Record::Grant(grant) => self.snapshot.grants.remove(key, grant),
            Record::Recipe(recipe) => {
                self.snapshot.recipe_count -= 1;
                self.snapshot.recipe_bytes -= recipe.weight();
                self.snapshot.recipes.remove(&recipe.name);
            }
            Record::Purge(_) => {
                Arc::make_mut(&mut self.snapshot.purges).remove(key);
            }
            Record::Upstream(_) | Record::Rule(_) | Record::Cpu(_) | Record::SigningKey(_) => {}
        }
    }

    fn add_login(&mut self, login: &LoginRecord) {
        let before = self.previous.and_then(|it| it.logins.get(&*login.name));
        let stored = StoredLogin {
            secret_sha256: login.secret_sha256,
            allow_selectors: login.allow_selectors,
            kind: login.kind.clone(),
            open: before.map(|it| it.open.clone()).unwrap_or_default(),
        };
        let name = login.name.clone();
        self.snapshot.logins.insert(name, Arc::new(stored));
    }

    fn edit_pins(&mut self, pin: &PinRecord, edit: impl FnOnce(&mut Pins)) {
        let pins = self.snapshot.pins.remove(&pin.kind);
        let mut pins = pins.unwrap_or_default();
        edit(Arc::make_mut(&mut pins));
        if !pins.is_empty() {
            self.snapshot.pins.insert(pin.kind.clone(), pins);
        }
        self.touch(&pin.kind);
    }

    /// Makes the machine types that anything of this is about.
    fn finish(mut self) -> Result<Snapshot, InvalidPolicy> {
        let ground = self.snapshot.ground.clone();
        let is_stale = |base: &&Snapshot| base.ground.fingerprint != ground.fingerprint;
        if let Some(base) = self.base.filter(is_stale) {
            base.kinds.iter().for_each(|(name, _)| self.touch(name));
        }
        let workshop = Workshop {
            ground: &ground,
            previous: self.previous,
        };
        let mut snapshot = self.snapshot;
        for (name, machine_type) in self.types {
            let Some(machine_type) = machine_type else {
                snapshot.kinds.remove(&name);
                continue;
            };
            let pins = snapshot.pins.get(&name).cloned().unwrap_or_default();
            let kind = workshop.kind(&name, machine_type, pins)?;
            snapshot.kinds.insert(name, kind);
        }
        Ok(snapshot)
    }

    /// Something else changes what the machine type means, if there is one.
    fn touch(&mut self, name: &KindName) {
        let known = self.base.and_then(|base| base.kinds.get(name));
        if let Some(kind) = known {
            let machine_type = Some(kind.host.machine_type());
            self.types.entry(name.clone()).or_insert(machine_type);
        }
    }
}

impl Snapshot {
    fn empty(revision: Revision, ground: Ground) -> Self {
        Self {
            revision,
            ground: Arc::new(ground),
            logins: Shards::default(),
            kinds: Shards::default(),
            pins: Shards::default(),
            grants: Grants::default(),
            recipes: Shards::default(),
            recipe_count: 0,
            recipe_bytes: 0,
            purges: Arc::default(),
        }
    }
}
