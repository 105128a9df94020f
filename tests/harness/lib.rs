//! What tests are made of: real control planes, workers, upstreams and clients.
//!
//! Everything listens on free ports of loopback and ends with its test. Most
//! tests start from a [`Site`](site::Site) over an
//! [`Upstream`](upstream::Upstream); those with real engines take theirs from
//! [`parts`].

pub mod admin;
pub mod bench;
pub mod client;
pub mod control;
pub mod digest;
pub mod elf;
pub mod image;
pub mod invocation;
pub mod parts;
pub mod port;
pub mod process;
pub mod program;
mod running;
pub mod site;
pub mod upstream;
pub mod wait;
pub mod worker;
