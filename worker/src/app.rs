//! Puts the worker together, and runs it.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::Config;

/// A worker that has bound its ports.
#[derive(Debug)]
pub struct App {}

impl App {
    /// Binds the ports.
    pub async fn bind(_config: Config) -> anyhow::Result<Self> {
        Ok(Self {})
    }

    /// Where it serves the registry API.
    pub fn registry_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Where it serves health and metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Serves until `shutdown` is cancelled, then drains.
    pub async fn run(self, _shutdown: CancellationToken) -> anyhow::Result<()> {
        Ok(())
    }
}
