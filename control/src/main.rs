//! Runs the control plane. All that can be tested is in the library.

use std::io::Write;

use clap::Parser;
use metahub_control::{App, Config, Migration};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

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
        } => Ok(writeln!(std::io::stdout(), "{}", migration.run().await?)?),
        CommandLine { config, .. } => run(config).await,
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    metahub_control::start_logs(&config)?;
    info!("starting with {config}");
    let app = App::bind(config).await?;
    if let Some(token) = app.new_admin_token() {
        writeln!(std::io::stdout(), "admin token, shown once: {token}")?;
    }
    if let Some(fingerprint) = app.fingerprint() {
        info!("callers know this control plane by the fingerprint {fingerprint}");
        writeln!(std::io::stdout(), "fingerprint: {fingerprint}")?;
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
