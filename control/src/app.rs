//! Puts the control plane together, and runs it.

use std::{net::SocketAddr, path::Path};

use tokio_util::sync::CancellationToken;

use crate::Config;

/// A control plane that has bound its port.
#[derive(Debug)]
pub struct App {}

impl App {
    /// Opens the store and binds the port.
    pub async fn bind(_config: Config) -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Where it serves gRPC.
    pub fn grpc_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// The file that holds the admin token, mode 0600.
    pub fn admin_token_file(&self) -> &Path {
        Path::new("")
    }

    /// The file that holds the worker token, mode 0600.
    pub fn worker_token_file(&self) -> &Path {
        Path::new("")
    }

    /// Serves until `shutdown` is cancelled, then drains.
    pub async fn run(self, _shutdown: CancellationToken) -> anyhow::Result<()> {
        Ok(())
    }
}
