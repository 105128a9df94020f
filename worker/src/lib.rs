//! A MetaHub worker: serves the registry API as the policy says.
//!
//! Start at [`App`]. Data flows one way: `server` takes a connection,
//! `peer` says where a request is from, `registry`
//! parses and answers it, `auth` says who asks, `snapshot`
//! what they are given, `upstream` where it comes from. `sync` keeps the
//! snapshot equal to the control plane's policy.

use std::time::Duration;

mod admin;
mod app;
mod auth;
mod backoff;
mod cache;
mod config;
mod convert;
mod descriptors;
mod dns;
pub mod follower;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod grpc_channel;
mod identity;
mod in_flight;
mod metrics;
mod peer;
mod purge;
mod recipes;
mod reference;
mod registry;
mod server;
mod snapshot;
mod sync;
pub mod telemetry;
pub mod trust;
mod upstream;

pub use self::app::App;
pub use self::config::{BlobConfig, ByteSize, Challenge, Config, LimitConfig, TlsConfig};

/// How long a connect may take, to whatever it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
