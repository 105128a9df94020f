//! The node proxy: forwards the pulls of every engine on this host to the
//! workers, with the host's credential.
//!
//! The proxy listens on loopback or on a unix socket, and forwards `GET` and
//! `HEAD` requests of the registry API to the workers' balancer. It caches
//! nothing, has no policy, and drops the credentials of its clients. An
//! unreachable balancer is 503, never 404, so that no engine falls back to
//! another registry.

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
