//! Runs the control plane. All that can be tested is in the library.

use std::io::Write;

use clap::Parser;
use metahub_control::{App, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    metahub_control::start_logs(&config)?;
    info!("starting with {config}");
    let app = App::bind(config).await?;
    if let Some(token) = app.new_admin_token() {
        writeln!(std::io::stdout(), "admin token, shown once: {token}")?;
    }
    info!(admin_token_file = %app.admin_token_file().display(), "serving gRPC on {}", app.grpc_addr());
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    app.run(shutdown).await
}

async fn cancel_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
    Ok(())
}
