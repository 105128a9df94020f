//! CPU names beyond the built-in table.

use metahub_policy::{Cpu, CpuTable};

use super::{Actor, Catalog};
use crate::{Error, Result, records::Key};

impl Catalog {
    /// Creates or replaces a CPU name.
    pub(crate) async fn put_cpu(&self, actor: &Actor, cpu: Cpu) -> Result<()> {
        self.edit(actor, "cpu.put", |edit| {
            if edit.base().find::<Cpu>(&Key::cpu(&cpu.name)).is_none() {
                check_new(&cpu)?;
            }
            let others = edit.base().all::<Cpu>().filter(|it| it.name != cpu.name);
            table(others.chain([&cpu]))?;
            edit.put(cpu.clone());
            Ok(())
        })
        .await
    }

    /// Deletes an added CPU name, unless another one builds on it.
    pub(crate) async fn delete_cpu(&self, actor: &Actor, name: &str) -> Result<()> {
        self.edit(actor, "cpu.delete", |edit| {
            let others = edit.base().all::<Cpu>().filter(|it| it.name != name);
            table(others).map_err(|error| Error::Blocked {
                reason: format!("the cpu `{name}` is still needed: {error}"),
            })?;
            edit.delete::<Cpu>(Key::cpu(name))
        })
        .await
    }
}

/// Refuses a name that is built in. One that the site has stays when a release
/// learns it.
pub(super) fn check_new(cpu: &Cpu) -> Result<()> {
    let checked = CpuTable::builtin().check_new(cpu);
    checked.map_err(|error| Error::invalid("cpu", error.to_string()))
}

/// The built-in table with `site`'s names.
pub(super) fn table<'a>(site: impl Iterator<Item = &'a Cpu>) -> Result<CpuTable> {
    let site: Vec<Cpu> = site.cloned().collect();
    CpuTable::with_site(&site).map_err(|error| Error::invalid("cpu", error.to_string()))
}
