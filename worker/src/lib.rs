//! A MetaHub worker: serves the registry API as the policy says.
//!
//! Start at [`App`].

mod app;
mod config;
#[allow(dead_code, reason = "used by the registry API, which is being built")]
mod reference;

pub use self::app::App;
pub use self::config::Config;
