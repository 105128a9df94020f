//! Runs the worker. All that can be tested is in the library.

use clap::Parser as _;
use metahub_worker::{App, Config, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = telemetry::init(&config)?;
    let shutdown = CancellationToken::new();
    let stopped = stop_on_signal(shutdown.clone())?;
    let Some(app) = shutdown.run_until_cancelled(App::bind(config)).await else {
        return Ok(());
    };
    let app = app?;
    let ended = app.run(shutdown).await;
    stopped.abort();
    telemetry.flush();
    ended
}

/// Cancels `shutdown` at SIGTERM and SIGINT. SIGHUP ends nothing: certificates
/// and tokens are read again when they are used.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => info!("SIGHUP: goes on; changed files are read by themselves"),
            }
        }
        shutdown.cancel();
    }))
}
