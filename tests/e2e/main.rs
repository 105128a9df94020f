//! End-to-end tests: one binary, one module for each subject.

mod alone;
mod answers;
mod audit;
mod blob_cache;
mod blob_sharing;
mod certificate_logins;
mod certificates;
mod declarative;
mod doctor;
mod documented;
mod grants;
mod host_join;
mod hostile;
mod hosts;
mod limits;
mod lists;
mod logins;
mod logs;
mod lost_workers;
mod names;
mod node;
mod oidc;
mod outages;
mod paths;
mod policy_flow;
mod purge;
mod recipes;
mod revocation;
mod roles;
mod rotation;
mod rules;
mod scale;
mod selection;
mod selectors;
mod sha512;
mod single_flight;
mod spoiled;
mod stores;
mod tls;
mod tokens;
mod upstream_options;
mod upstream_rate;
mod upstream_secrets;
mod weather;

#[cfg(feature = "real-parts")]
mod batch;
#[cfg(feature = "real-parts")]
mod bearer;
#[cfg(feature = "real-parts")]
mod client_config;
#[cfg(feature = "real-parts")]
mod clocks;
#[cfg(feature = "real-parts")]
mod cpu_table;
#[cfg(feature = "real-parts")]
mod credential_helpers;
#[cfg(feature = "real-parts")]
mod cri;
#[cfg(feature = "real-parts")]
mod deploy;
#[cfg(feature = "real-parts")]
mod detect;
#[cfg(feature = "real-parts")]
mod differences;
#[cfg(feature = "real-parts")]
mod disk_full;
#[cfg(feature = "engine-matrix")]
mod engine_matrix;
#[cfg(feature = "real-parts")]
mod engines;
#[cfg(feature = "real-parts")]
mod engines_weather;
#[cfg(feature = "real-parts")]
mod etcd;
#[cfg(feature = "real-parts")]
mod failures;
#[cfg(feature = "real-parts")]
mod faults;
#[cfg(feature = "real-parts")]
mod fleet;
#[cfg(feature = "real-parts")]
mod full_disk;
#[cfg(feature = "real-parts")]
mod parts;
#[cfg(feature = "real-parts")]
mod private_registry;
#[cfg(feature = "real-parts")]
mod signing_keys;
#[cfg(feature = "real-parts")]
mod swarm_nodes;
#[cfg(feature = "real-parts")]
mod worker_tls;
