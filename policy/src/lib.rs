//! What a machine type means: features, compatibility, selection.
//!
//! Pure: no I/O, no async, no protobuf. A [`MachineType`] becomes a [`Host`],
//! the bytes of an image index an [`Index`]; [`select`] says which entries the
//! host is given and why, and [`trim()`] cuts the index down to them. The rules
//! are told in `docs/selection.md`.

mod cpu;
mod feature;
mod gfx;
mod glob;
mod grant;
mod host;
mod index;
mod machine_type;
mod nvcap;
mod plan;
mod platform;
mod rule;
mod selection;
mod state_digest;
mod trim;
mod version;

pub use self::cpu::{Cpu, CpuLevel, CpuTable, IdentifiedCpu, InvalidCpu, Processor};
pub use self::grant::{Grant, InvalidGrant};
pub use self::host::Host;
pub use self::index::{
    Entry, Index, InvalidIndex, MAX_ENTRIES, MAX_INDEX_BYTES, MAX_NESTING, Platform, flatten,
    is_index_media_type,
};
pub use self::machine_type::{
    GpuMatch, InvalidMachineType, MachineType, MatchMode, OnNoMatch, Platforms, Present,
};
pub use self::plan::{
    IgnoredFeature, InvalidInventory, Inventory, Plan, PlanRules, PlannedFloor, PlannedHost,
    PlannedType, list_names, plan, read_inventory,
};
pub use self::rule::{InvalidRule, Rule, RuleMatch};
pub use self::selection::{
    Facts, Misfit, NotCandidate, PinOutcome, Selection, Step, TypeChoice, Unmet, Verdict,
    choose_type, own_type, select,
};
pub use self::state_digest::StateDigest;
pub use self::trim::trim;
