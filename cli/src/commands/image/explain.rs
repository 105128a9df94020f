//! `metahubctl image explain`: what a machine type gets, and why.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use metahub_policy::{CpuTable, Entry, Facts, Host, Index, Platform, Rule, Selection, select};
use serde::Serialize;

use super::source;
use crate::output::{Output, Row, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file that holds the image index, as the registry serves it; `-` is
    /// stdin. JSON or YAML.
    #[arg(long, value_name = "FILE")]
    index: PathBuf,

    /// The file that holds the machine type, as `metahubctl type show` prints
    /// it; `-` is stdin. JSON or YAML.
    #[arg(long, value_name = "FILE")]
    type_file: PathBuf,

    /// The file that holds a list of rules, all of which apply; `-` is stdin.
    /// JSON or YAML.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// What the machine type gets, and why.
#[derive(Debug, Serialize)]
struct Explanation {
    /// The digests of the kept entries, in source order.
    kept: Vec<String>,
    /// One for each entry, in source order.
    reasons: Vec<Reason>,
}

/// Why an entry is kept or not.
#[derive(Debug, Serialize)]
struct Reason {
    digest: String,
    platform: String,
    requirements: Vec<String>,
    kept: bool,
    reason: String,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> anyhow::Result<()> {
    let explanation = arguments.explain()?;
    let text = table(&explanation.reasons);
    output.record(&explanation, &text)?;
    if explanation.kept.is_empty() {
        output.note("No variant fits.")?;
    }
    Ok(())
}

impl Arguments {
    fn explain(&self) -> anyhow::Result<Explanation> {
        let files = [
            Some(&self.index),
            Some(&self.type_file),
            self.rules.as_ref(),
        ];
        let stdin = files
            .iter()
            .flatten()
            .filter(|path| ***path == Path::new("-"));
        ensure!(stdin.count() <= 1, "only one of the files can be stdin");

        let index = source::index(&self.index)?;
        let machine_type = source::machine_type(&self.type_file)?;
        let rules = self.rules.as_deref().map(source::rules).transpose()?;
        let rules = rules.unwrap_or_default();
        rules.iter().try_for_each(Rule::check)?;
        let host = Host::new(machine_type, CpuTable::builtin())
            .with_context(|| format!("{} cannot be used", self.type_file.display()))?;
        let rules: Vec<_> = rules.iter().collect();
        let facts = Facts {
            rules: &rules,
            pin: None,
        };
        Ok(Explanation::new(&index, &select(&host, &index, facts)))
    }
}

impl Explanation {
    fn new(index: &Index, selection: &Selection) -> Self {
        let reasons: Vec<_> = index
            .entries
            .iter()
            .zip(&selection.verdicts)
            .enumerate()
            .map(|(place, (entry, verdict))| Reason {
                digest: entry.digest.clone(),
                platform: entry.platform.as_ref().map(platform).unwrap_or_default(),
                requirements: requirements(entry),
                kept: selection.kept.contains(&place),
                reason: format!("{verdict:?}"),
            })
            .collect();
        let kept = reasons.iter().filter(|reason| reason.kept);
        Self {
            kept: kept.map(|reason| reason.digest.clone()).collect(),
            reasons,
        }
    }
}

fn requirements(entry: &Entry) -> Vec<String> {
    let platform = entry.platform.as_ref();
    platform.map_or_else(Vec::new, |platform| platform.features.clone())
}

/// For example `linux/arm/v7` or `windows/amd64 10.0.20348.1`.
fn platform(platform: &Platform) -> String {
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if !platform.variant.is_empty() {
        text += &format!("/{}", platform.variant);
    }
    if !platform.os_version.is_empty() {
        text += &format!(" {}", platform.os_version);
    }
    text
}

impl Row for Reason {
    const COLUMNS: &'static [&'static str] =
        &["DIGEST", "PLATFORM", "REQUIREMENTS", "KEPT", "REASON"];

    fn cells(&self) -> Vec<String> {
        let requirements = match self.requirements.as_slice() {
            [] => "-".into(),
            some => some.join(" "),
        };
        vec![
            self.digest.clone(),
            self.platform.clone(),
            requirements,
            if self.kept { "yes" } else { "no" }.into(),
            self.reason.clone(),
        ]
    }
}
