//! `metahubctl host detect`: prints this machine's features.

use std::{fmt::Write, path::PathBuf};

use metahub_host::detect::{DetectedHost, Level, Options, detect_with};
use metahub_policy::CpuTable;

use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The machine's root directory: in a container, the directory where the
    /// host's root is mounted.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The features to print: `full` adds those that others imply, CPU flags
    /// and ROCm's version.
    ///
    /// Among the default ones, the host's `glibc` matters only for containers
    /// that use the host's libraries, as with NVIDIA's container toolkit and
    /// MPI.
    #[arg(long, value_enum, default_value_t)]
    features: Scope,

    /// Read the CPU by its cpuid instruction instead of /proc/cpuinfo.
    #[arg(long, hide = true)]
    cpuid: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Scope {
    /// The features for machine types.
    #[default]
    Default,
    /// All features, with those that others imply.
    Full,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output<'_>) -> anyhow::Result<()> {
    let options = Options {
        full: arguments.features == Scope::Full,
        cpuid: arguments.cpuid,
    };
    let host = detect_with(&arguments.root, &CpuTable::builtin(), options)?;
    output.record(&host, &text(&host))?;
    output.warn(&host.warnings);
    Ok(())
}

/// One line per feature with its evidence, then the level.
fn text(host: &DetectedHost) -> String {
    let width = host.features.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (feature, evidence) in &host.evidence {
        let (source, raw) = (&evidence.source, cut(&evidence.raw));
        let _ = writeln!(text, "{feature:width$}  {source}: {raw}");
    }
    if let Some(level) = &host.level {
        let _ = writeln!(text, "\n{}", sentence(level));
    }
    text
}

fn sentence(level: &Level) -> String {
    let name = &level.name;
    match &level.next {
        Some(next) => format!(
            "The CPU is of level {name}; {next} needs {} besides.",
            level.missing.join(", ")
        ),
        None => format!("The CPU is of level {name}, the highest."),
    }
}

/// The start of a long text.
fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
