//! A MetaHub worker: serves the registry API as the policy says.
//!
//! Start at [`App`].

mod app;
#[allow(
    dead_code,
    unused_imports,
    reason = "used by the registry API, which is being built"
)]
mod cache;
mod config;
#[allow(dead_code, reason = "used by the registry API, which is being built")]
mod reference;
#[allow(
    dead_code,
    unused_imports,
    reason = "used by the registry API, which is being built"
)]
mod upstream;

pub use self::app::App;
pub use self::config::Config;
