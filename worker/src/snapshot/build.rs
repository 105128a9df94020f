//! Makes a snapshot of records.

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256};
use metahub_policy::{Cpu, CpuTable, Host, InvalidCpu, InvalidMachineType, InvalidRule, Rule};
use tracing::debug;

use super::{
    Fingerprint, Grants, Kind, Login, LoginRecord, PinRecord, Record, Records, Revision, Snapshot,
    TypeRecord,
};

/// The CPU names of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Cpus {
    site: Vec<Cpu>,
    table: Arc<CpuTable>,
}

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

/// The records, by what they are.
#[derive(Default)]
struct Sorted<'a> {
    types: Vec<&'a TypeRecord>,
    logins: Vec<&'a LoginRecord>,
    rules: Vec<Rule>,
    pins: HashMap<(&'a str, &'a str), Vec<PinRecord>>,
    cpus: Vec<Cpu>,
}

/// Makes the snapshot of `records`. Takes over what `previous` has worked out
/// already and what has not changed since.
pub(crate) fn build(
    revision: Revision,
    records: &Records,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, InvalidPolicy> {
    let mut sorted = Sorted::default();
    let mut snapshot = Snapshot {
        revision,
        logins: HashMap::default(),
        kinds: HashMap::default(),
        upstreams: HashMap::default(),
        upstreams_by_host: HashMap::default(),
        default_upstream: None,
        grants: Grants::default(),
        rules: Vec::new(),
        signing_keys: Vec::new(),
        recipes: HashMap::default(),
        cpus: Cpus::none(),
    };
    for record in records.iter() {
        sort(record, &mut sorted, &mut snapshot);
    }
    snapshot.cpus = Cpus::new(sorted.cpus, previous)?;
    sorted.rules.iter().try_for_each(Rule::check)?;
    sorted.rules.sort_by(|a, b| a.name.cmp(&b.name));
    snapshot.rules = sorted.rules;

    let shared = shared_fingerprint(&snapshot.rules, &snapshot.cpus.site);
    let workshop = Workshop {
        previous,
        shared,
        cpus: &snapshot.cpus,
    };
    snapshot.kinds = workshop.kinds(&sorted.types, sorted.pins)?;
    snapshot.logins = logins(&sorted.logins, &snapshot.kinds, previous);
    Ok(snapshot)
}

fn sort<'a>(record: &'a Record, sorted: &mut Sorted<'a>, snapshot: &mut Snapshot) {
    match record {
        Record::MachineType(kind) => sorted.types.push(kind),
        Record::Login(login) => sorted.logins.push(login),
        Record::Rule(rule) => sorted.rules.push(rule.clone()),
        Record::Pin(pin) => sorted
            .pins
            .entry((&pin.user, &pin.machine_type))
            .or_default()
            .push(pin.clone()),
        Record::Grant(grant) => snapshot.grants.add(grant.clone()),
        Record::SigningKey(key) => snapshot.signing_keys.push(key.clone()),
        Record::Cpu(cpu) => sorted.cpus.push(cpu.clone()),
        Record::Recipe(recipe) => {
            let name = recipe.name.clone();
            snapshot.recipes.insert(name, recipe.clone());
        }
        Record::Upstream(upstream) => {
            if upstream.is_default && snapshot.default_upstream.is_none() {
                snapshot.default_upstream = Some(upstream.clone());
            }
            for host in &upstream.hosts {
                let by_host = snapshot.upstreams_by_host.entry(host.clone());
                by_host.or_insert_with(|| upstream.clone());
            }
            let name = upstream.name.clone();
            snapshot.upstreams.insert(name, upstream.clone());
        }
    }
}

type Key = (Box<str>, Box<str>);
type Kinds = HashMap<Key, Arc<Kind>, ahash::RandomState>;

/// What it takes to make kinds.
struct Workshop<'a> {
    previous: Option<&'a Snapshot>,
    shared: Fingerprint,
    cpus: &'a Cpus,
}

impl Workshop<'_> {
    fn kinds<'a>(
        &self,
        types: &[&'a TypeRecord],
        mut pins: HashMap<(&'a str, &'a str), Vec<PinRecord>>,
    ) -> Result<Kinds, InvalidPolicy> {
        let mut kinds = Kinds::with_capacity_and_hasher(types.len(), ahash::RandomState::new());
        for record in types {
            let pins = pins.remove(&(record.user.as_str(), record.name.as_str()));
            let key = key(&record.user, &record.name);
            let pins = pins.unwrap_or_default();
            let kind = match self.known(&key, record, &pins) {
                Some(kind) => kind,
                None => Arc::new(self.kind(record, pins)?),
            };
            kinds.insert(key, kind);
        }
        Ok(kinds)
    }

    /// The kind as it was, if nothing that it depends on has changed.
    fn known(&self, key: &Key, record: &TypeRecord, pins: &[PinRecord]) -> Option<Arc<Kind>> {
        let kind = self.previous?.kinds.get(key)?;
        let same = kind.shared == self.shared
            && kind.pins == pins
            && *kind.host.machine_type() == record.machine_type;
        same.then(|| kind.clone())
    }

    fn kind(&self, record: &TypeRecord, pins: Vec<PinRecord>) -> Result<Kind, InvalidPolicy> {
        let name = format!("{}-{}", record.user, record.name);
        let host = match Host::new(record.machine_type.clone(), self.cpus.table.clone()) {
            Ok(host) => Arc::new(host),
            Err(source) => return Err(InvalidPolicy::MachineType { name, source }),
        };
        Ok(Kind {
            name,
            user: record.user.as_str().into(),
            fingerprint: fingerprint(&self.shared, &host, &pins),
            host,
            pins,
            shared: self.shared,
        })
    }
}

/// A kind for one login alone, as if its machine type had these features.
pub(super) fn with_selectors(
    kind: &Kind,
    selectors: &[&str],
    cpus: &Cpus,
) -> Result<Kind, InvalidMachineType> {
    let host = Arc::new(kind.host.with_selectors(selectors)?);
    host.machine_type().check(&cpus.table)?;
    Ok(Kind {
        name: format!("{}+{}", kind.name, selectors.join("+")),
        user: kind.user.clone(),
        fingerprint: fingerprint(&kind.shared, &host, &kind.pins),
        host,
        pins: kind.pins.clone(),
        shared: kind.shared,
    })
}

fn fingerprint(shared: &Fingerprint, host: &Host, pins: &[PinRecord]) -> Fingerprint {
    let mut sum = Context::new(&SHA256);
    sum.update(shared);
    sum.update(&host.fingerprint());
    for pin in pins {
        add(&mut sum, &pin.scope.repository);
        add(&mut sum, &pin.digest);
    }
    finish(sum)
}

fn key(user: &str, name: &str) -> Key {
    (user.into(), name.into())
}

/// A login whose type is gone is no login: it is left out.
fn logins(
    records: &[&LoginRecord],
    kinds: &Kinds,
    previous: Option<&Snapshot>,
) -> HashMap<Box<str>, Login, ahash::RandomState> {
    let mut logins = HashMap::with_capacity_and_hasher(records.len(), ahash::RandomState::new());
    for record in records {
        let Some(kind) = kinds.get(&key(&record.user, &record.machine_type)) else {
            debug!(login = record.name, "left out a login without machine type");
            continue;
        };
        let before = previous.and_then(|it| it.login(&record.name));
        let open = before.map(|it| &it.open);
        let login = Login {
            secret_sha256: record.secret_sha256,
            allow_selectors: record.allow_selectors,
            kind: kind.clone(),
            open: open.cloned().unwrap_or_default(),
        };
        logins.insert(record.name.as_str().into(), login);
    }
    logins
}

impl Cpus {
    fn none() -> Self {
        Self {
            site: Vec::new(),
            table: CpuTable::builtin(),
        }
    }

    fn new(site: Vec<Cpu>, previous: Option<&Snapshot>) -> Result<Self, InvalidCpu> {
        if site.is_empty() {
            return Ok(Self::none());
        }
        if let Some(previous) = previous.filter(|previous| previous.cpus.site == site) {
            return Ok(previous.cpus.clone());
        }
        let table = Arc::new(CpuTable::with_site(&site)?);
        Ok(Self { site, table })
    }
}

fn shared_fingerprint(rules: &[Rule], cpus: &[Cpu]) -> Fingerprint {
    let mut sum = Context::new(&SHA256);
    for rule in rules {
        add(&mut sum, &format!("{rule:?}"));
    }
    for cpu in cpus {
        add(&mut sum, &format!("{cpu:?}"));
    }
    finish(sum)
}

/// Adds `part` such that no two lists of parts are the same to `sum`.
fn add(sum: &mut Context, part: &str) {
    sum.update(&(part.len() as u64).to_le_bytes());
    sum.update(part.as_bytes());
}

fn finish(sum: Context) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(sum.finish().as_ref());
    fingerprint
}
