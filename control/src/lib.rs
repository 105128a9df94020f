//! The MetaHub control plane.
//!
//! It owns users and machine-type policy and streams it to workers. Start at
//! [`App`].

mod app;
mod config;

pub use self::app::App;
pub use self::config::Config;
