//! `metahubctl demo`: the whole of MetaHub in one process, with its own
//! upstream, images and hosts. Needs no network and no docker.
//!
//! Its parts are public because end-to-end tests use them as well.

pub mod client;
pub mod digest;
pub mod elf;
pub mod image;
pub mod registry;
