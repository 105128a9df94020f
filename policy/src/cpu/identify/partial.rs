//! Identifies a CPU from incomplete flags.

use std::collections::BTreeSet;

use super::{Processor, flag_of};
use crate::cpu::{CpuTable, Entry};

impl CpuTable {
    /// Identifies a CPU as [`CpuTable::identify`] does, if only the flags in
    /// `is_told`, in the table's spelling, are known to be present or absent.
    ///
    /// Other flags count as present if the known flags distinguish a CPU with
    /// them from all older ones. Otherwise the older CPU is the answer.
    pub(crate) fn identify_partly(
        &self,
        processor: &Processor,
        is_told: &dyn Fn(&str) -> bool,
    ) -> Option<String> {
        let flags: BTreeSet<_> = processor.flags.iter().map(|flag| flag_of(flag)).collect();
        let told = |cpu: &Entry| -> Option<BTreeSet<String>> {
            let signature = cpu.signature.as_ref()?;
            let flags = signature.flags.iter().filter(|flag| is_told(flag));
            Some(flags.cloned().collect())
        };
        let is_identified = |cpu: &Entry| {
            let signature = cpu.signature.as_ref();
            let own = signature.into_iter().flat_map(|it| &it.flags);
            let hidden = own.filter(|flag| !is_told(flag)).cloned();
            let mut whole = processor.clone();
            whole.flags.extend(hidden);
            let identified = self.identify(&whole);
            identified.is_some_and(|it| it.name == cpu.name)
        };
        let fits = |cpu: &&Entry| {
            let own = told(cpu);
            let mut older = cpu.ancestors.iter().map(|id| told(&self.cpus[*id]));
            cpu.family == processor.family
                && own.as_ref().is_some_and(|own| own.is_subset(&flags))
                && older.all(|older| older != own)
                && is_identified(cpu)
        };
        let order = |cpu: &&Entry| (cpu.rank.ancestors, cpu.rank.features, cpu.name.clone());
        let fitting = self.cpus.iter().filter(fits);
        Some(fitting.max_by_key(order)?.name.clone())
    }
}
