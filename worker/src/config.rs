//! The worker's settings, read once at start.

use std::{net::SocketAddr, path::PathBuf};

/// Runs a MetaHub worker.
///
/// Each flag can be set by its environment variable instead.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "metahub-worker", version)]
pub struct Config {
    /// Where to serve the registry API.
    #[arg(long, env = "METAHUB_REGISTRY_ADDR", default_value = "127.0.0.1:7480")]
    pub registry_addr: SocketAddr,

    /// Where to serve health and metrics.
    #[arg(
        long,
        env = "METAHUB_WORKER_ADMIN_ADDR",
        default_value = "127.0.0.1:7481"
    )]
    pub admin_addr: SocketAddr,

    /// The control plane.
    #[arg(long, env = "METAHUB_CONTROL", default_value = "http://127.0.0.1:7400")]
    pub control: url::Url,

    /// The file that holds the worker token.
    #[arg(
        long,
        env = "METAHUB_WORKER_TOKEN_FILE",
        default_value = "metahub-data/worker-token"
    )]
    pub token_file: PathBuf,
}
