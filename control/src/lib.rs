//! The MetaHub control plane.
//!
//! It owns users and machine-type policy and streams it to workers. Start at
//! [`App`].

mod access;
mod app;
mod audit;
mod catalog;
mod certificates;
mod config;
mod convert;
mod descriptors;
mod error;
mod feed;
mod fleet;
mod grpc;
mod housekeeping;
mod logs;
mod metrics;
mod migrate;
mod names;
mod oidc;
mod pattern;
mod policy;
mod records;
mod secrets;
mod store;
mod tls;
mod tokens;

pub use self::app::App;
pub use self::catalog::{
    Catalog, Declaration, DeclaredCpu, DeclaredGrant, DeclaredLogin, DeclaredMatch, DeclaredPin,
    DeclaredRule, DeclaredType, DeclaredUpstream, DeclaredUser,
};
pub use self::config::Config;
pub use self::error::{Error, Result};
pub use self::logs::{LogFlush, LogWriter, start_logs};
pub use self::migrate::Migration;
pub use self::oidc::{InvalidRoleRule, IssuerError, OidcSettings, RoleRule};
pub use self::pattern::Pattern;
pub use self::records::{Blobs, Secret};
pub use self::store::{EtcdAccess, EtcdCluster, EtcdError, Revision, StoreError, StoreLocation};
