//! A MetaHub worker: serves the registry API as the policy says.
//!
//! Start at [`App`].

mod app;
mod config;

pub use self::app::App;
pub use self::config::Config;
