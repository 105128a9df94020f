//! Code that runs on a host: feature detection and the host's credential, for
//! `metahubctl` and for the programs of this crate.
//!
//! Knows `policy` alone, so that the programs stay small.

pub mod credential;
pub mod detect;
pub mod helper;
pub mod node;
