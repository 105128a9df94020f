//! Logs of the planes that run in this process.

use std::io::stderr;

use anyhow::Context;
use metahub_control::{LogFlush, LogWriter};
use tracing_subscriber::EnvFilter;

/// Writes logs to stderr, as `filter` says, for example `warn`.
pub(crate) fn start(filter: &str) -> anyhow::Result<LogFlush> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("`{filter}` does not say what to log; try `info`"))?;
    let (writer, flush) = LogWriter::to(stderr());
    // Fails where a log is already being written, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(move || writer.clone())
        .try_init();
    Ok(flush)
}
