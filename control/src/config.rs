//! The control plane's settings, read once at start.

use std::{net::SocketAddr, path::PathBuf};

/// Runs the MetaHub control plane.
///
/// Each flag can be set by its environment variable instead.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "metahub-control", version)]
pub struct Config {
    /// Where to serve gRPC, for workers and admins.
    #[arg(long, env = "METAHUB_GRPC_ADDR", default_value = "127.0.0.1:7400")]
    pub grpc_addr: SocketAddr,

    /// The directory that keeps the state and the tokens.
    #[arg(long, env = "METAHUB_DATA_DIR", default_value = "metahub-data")]
    pub data_dir: PathBuf,

    /// Serve plain text on other addresses than loopback.
    #[arg(long, env = "METAHUB_INSECURE")]
    pub insecure: bool,
}
