//! The log of the node proxy, on standard error.

use std::io::stderr;

use anyhow::Context as _;
use tracing_subscriber::{
    Layer as _, Registry, filter::Targets, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::Config;

/// Starts logging. Call it once per process.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let filter: Targets = config.log.parse().context("--log is not a filter")?;
    // A failed write to the log is ignored.
    let lines = fmt::layer()
        .log_internal_errors(false)
        .with_ansi(false)
        .with_writer(stderr);
    let lines = if config.log_json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    Registry::default()
        .with(lines.with_filter(filter))
        .try_init()
        .context("logging has been started before")
}
