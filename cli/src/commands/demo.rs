//! `metahubctl demo`: shows what MetaHub does, in one process.

use tokio_util::sync::CancellationToken;

use crate::{
    demo::{Demo, docker, verify},
    output::Output,
    signal, telemetry,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave it running until Ctrl-C, to try it with docker.
    #[arg(long)]
    keep: bool,

    /// Where the docker daemon is.
    #[arg(long, env = "DOCKER_HOST", hide = true)]
    docker_host: Option<String>,

    /// What to log, for example `info`.
    #[arg(long, env = "METAHUB_LOG", default_value = "warn")]
    log: String,
}

pub(crate) async fn run(arguments: Arguments, output: &mut Output<'_>) -> anyhow::Result<()> {
    telemetry::start(&arguments.log)?;
    let shutdown = signal::shutdown()?;
    let showing = show(arguments, output, shutdown.clone());
    // Interrupted before there was anything to see: nothing is left behind.
    shutdown
        .run_until_cancelled(showing)
        .await
        .unwrap_or(Ok(()))
}

async fn show(
    arguments: Arguments,
    output: &mut Output<'_>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let demo = Demo::start(shutdown).await?;
    let pulls = demo.pull_all().await?;
    output.list(&pulls)?;
    verify(&pulls)?;
    output.note("\nEach type got the variant that fits it best, and every digest was verified.");
    output.note(&demo.pull_as_this_machine().await?);
    if arguments.keep || docker::answers(arguments.docker_host.as_deref()).await {
        output.note(&docker::lines(&demo, arguments.keep));
    }
    if arguments.keep {
        demo.run().await
    } else {
        demo.stop().await
    }
}
