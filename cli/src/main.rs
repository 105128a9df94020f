//! Runs metahubctl. All that can be tested is in the library.

use std::{
    io::{stderr, stdout},
    process::ExitCode,
};

use clap::Parser;
use metahub_cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = metahub_cli::run(cli, &mut stdout(), &mut stderr()).await;
    metahub_cli::exit_code(result, &mut stderr())
}
