//! The node proxy: forwards the pulls of every engine on this host to the
//! workers, with the host's credential.
//!
//! It listens on loopback or on a unix socket, and passes `GET` and `HEAD` of
//! the registry API to the workers' balancer. It caches nothing, keeps no
//! policy, and drops the credentials of its clients. A balancer that cannot be
//! reached is 503, never 404, so that no engine asks another registry instead.

mod answer;
mod app;
mod balancer;
mod body;
mod config;
mod connection;
mod credential_file;
mod dialer;
mod forward;
mod headers;
mod listener;
mod pool;
pub mod telemetry;

pub use self::{
    app::App,
    config::{Config, Listen, UpstreamPort},
};
