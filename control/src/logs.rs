//! The program's own logs.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::Config;

/// Writes logs to stderr from now on: for people, or as JSON lines.
///
/// For a program that runs nothing but the control plane. It fails where logs
/// are being written already.
pub fn start_logs(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("--log `{}`: try `info`", config.log))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    let started = match config.log_json {
        true => logs.json().try_init(),
        false => logs.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error).context("cannot start the logs"))
}
