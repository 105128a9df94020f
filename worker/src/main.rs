//! Runs the worker. All that can be tested is in the library.

use clap::Parser as _;
use metahub_worker::{App, Config, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = telemetry::init(&config)?;
    let shutdown = CancellationToken::new();
    let app = App::bind(config).await?;
    let stopped = stop_on_signal(shutdown.clone())?;
    let ended = app.run(shutdown).await;
    stopped.abort();
    telemetry.flush();
    ended
}

/// Cancels `shutdown` at SIGTERM and SIGINT.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    }))
}
