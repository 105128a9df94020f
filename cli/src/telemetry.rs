//! Logs of the planes that run in this process.

use std::io::stderr;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Writes logs to stderr, as `filter` says, for example `warn`.
pub(crate) fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("`{filter}` does not say what to log; try `info`"))?;
    // Fails where a log is already being written, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .try_init();
    Ok(())
}
