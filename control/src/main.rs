//! Runs the control plane. All that can be tested is in the library.

use std::io::Write;

use clap::Parser;
use metahub_control::{App, Config, Migration};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The command line: flags alone run the control plane.
#[derive(clap::Parser)]
#[command(
    name = "metahub-control",
    version,
    args_conflicts_with_subcommands = true
)]
struct CommandLine {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    config: Config,
}

/// What else there is to do.
#[derive(clap::Subcommand)]
enum Task {
    Migrate(Migration),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match CommandLine::parse() {
        CommandLine {
            task: Some(Task::Migrate(migration)),
            ..
        } => {
            show(&migration.run().await?);
            Ok(())
        }
        CommandLine { config, .. } => run(config).await,
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let _flush = metahub_control::start_logs(&config)?;
    info!("starting with {config}");
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let Some(app) = shutdown.run_until_cancelled(App::bind(config)).await else {
        return Ok(());
    };
    let app = app?;
    if let Some(token) = app.new_admin_token() {
        show(&format!("admin token, shown once: {token}"));
    }
    if let Some(fingerprint) = app.fingerprint() {
        info!("callers know this control plane by the fingerprint {fingerprint}");
        show(&format!("fingerprint: {fingerprint}"));
    }
    info!(admin_token_file = %app.admin_token_file().display(), "serving gRPC on {}", app.grpc_addr());
    app.run(shutdown).await
}

/// Prints a line. That no one reads it fails nothing: it is in files, too.
fn show(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        warn!("cannot write to stdout: {error}");
    }
}

/// Cancels `shutdown` at SIGTERM and SIGINT. SIGHUP ends nothing: certificates
/// and tokens are read again whenever their files change.
fn stop_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => info!("SIGHUP: goes on; changed files are read by themselves"),
            }
        }
        shutdown.cancel();
    });
    Ok(())
}
