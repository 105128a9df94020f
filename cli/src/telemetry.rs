//! Logs of the planes that run in this process.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

/// Writes logs to stderr, from `warn` on, or as `RUST_LOG` says.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // Fails where a log is already being written, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .try_init();
}
