//! What tests are made of: real control planes, workers, upstreams and clients.
//!
//! Everything listens on free ports of loopback and ends with its test. Most
//! tests start from a [`Site`](site::Site) over the demo's registry in memory;
//! those with real engines start from a [`Cluster`](parts::Cluster).

pub mod admin;
pub mod authority;
pub mod blob_host;
pub mod blob_pull;
pub mod client;
pub mod control;
pub mod cri;
pub mod ctl;
pub mod frames;
pub mod host;
pub mod hostile;
pub mod index;
pub mod invocation;
pub mod issuer;
pub mod large;
pub mod load;
pub mod metahubctl;
pub mod node;
pub mod pairs;
pub mod parts;
pub mod port;
pub mod process;
pub mod program;
pub mod raw;
pub mod relay;
mod running;
pub mod site;
pub mod stalled;
pub mod swarm;
pub mod tap;
pub mod tls_front;
pub mod valve;
pub mod wait;
pub mod worker;
