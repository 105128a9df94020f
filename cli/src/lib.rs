//! metahubctl: administers a MetaHub, and runs one in a single process.
//!
//! It prints results to stdout, everything else to stderr, and exits with 0
//! for done, 1 for failed, 2 for a wrong command line and 3 for a difference or
//! a warning that was asked for. Start at [`run`].

mod change;
mod cli;
mod client;
mod commands;
mod config;
mod credential;
pub mod demo;
mod engine_files;
mod explain;
mod failure;
mod output;
mod planes;
mod policy_file;
mod pull;
mod record;
mod secret;
mod sign_in;
mod signal;
mod telemetry;

pub use self::cli::{Cli, run};
pub use self::failure::exit_code;
