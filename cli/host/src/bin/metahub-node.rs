//! The node proxy's program: arguments, logging and signals. The library holds
//! the logic and its tests.

use clap::Parser as _;
use metahub_host::node::{App, Config, telemetry};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    telemetry::init(&config)?;
    runtime(config.threads.get())?.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signal(shutdown.clone())?;
        App::bind(config).await?.run(shutdown).await;
        Ok(())
    })
}

fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()
}

/// Cancels `shutdown` at SIGTERM and SIGINT. Ignores SIGHUP: each request
/// checks the credential file for changes.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {}
            }
        }
        shutdown.cancel();
    });
    Ok(())
}
