//! Makes machine types ready to select for.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use metahub_policy::{Host, InvalidMachineType, MachineType};

use super::{
    Fingerprint, InvalidPolicy, Kind, KindName, Pins, Snapshot,
    ground::{Cpus, Ground},
};

/// What it takes to make kinds.
pub(super) struct Workshop<'a> {
    pub(super) ground: &'a Ground,
    pub(super) previous: Option<&'a Snapshot>,
}

impl Workshop<'_> {
    /// The kind of a machine type. The one that was, or at least its host, if
    /// nothing that it depends on has changed.
    pub(super) fn kind(
        &self,
        name: &KindName,
        machine_type: &MachineType,
        pins: Arc<Pins>,
    ) -> Result<Arc<Kind>, InvalidPolicy> {
        let shared = self.ground.fingerprint;
        let known = self.previous.and_then(|it| it.kinds.get(name));
        let known = known.filter(|kind| kind.host.machine_type() == machine_type);
        if let Some(known) = known.filter(|it| it.shared == shared && it.pins == pins) {
            return Ok(known.clone());
        }
        let host = match known.filter(|_| self.has_the_same_cpus()) {
            Some(known) => known.host.clone(),
            None => self.host(name, machine_type)?,
        };
        Ok(Arc::new(Kind {
            name: format!("{}-{}", name.user, name.name),
            user: name.user.clone(),
            fingerprint: fingerprint(&shared, &host, &pins),
            host,
            pins,
            shared,
        }))
    }

    fn has_the_same_cpus(&self) -> bool {
        let previous = self.previous.map(|it| &it.ground.cpus.table);
        previous.is_some_and(|table| Arc::ptr_eq(table, &self.ground.cpus.table))
    }

    fn host(&self, name: &KindName, it: &MachineType) -> Result<Arc<Host>, InvalidPolicy> {
        let host = Host::new(it.clone(), self.ground.cpus.table.clone());
        host.map(Arc::new)
            .map_err(|source| InvalidPolicy::MachineType {
                name: format!("{}-{}", name.user, name.name),
                source,
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

fn fingerprint(shared: &Fingerprint, host: &Host, pins: &Pins) -> Fingerprint {
    let mut sum = Context::new(&SHA256);
    sum.update(shared);
    sum.update(&host.fingerprint());
    for pin in pins.values() {
        add(&mut sum, &pin.scope.repository);
        add(&mut sum, &pin.digest);
    }
    finish(sum)
}

/// Adds `part` such that no two lists of parts are the same to `sum`.
pub(super) fn add(sum: &mut Context, part: &str) {
    sum.update(&(part.len() as u64).to_le_bytes());
    sum.update(part.as_bytes());
}

pub(super) fn finish(sum: Context) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(sum.finish().as_ref());
    fingerprint
}
