//! `metahubctl image explain`: what a machine type gets, and why.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use metahub_policy::{CpuTable, Facts, Host, Index, Platform, Rule, select};
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
    let (explanation, warnings) = arguments.explain()?;
    output.warn(&warnings)?;
    let text = table(&explanation.reasons);
    output.record(&explanation, &text)?;
    if explanation.kept.is_empty() {
        output.note("No variant fits.")?;
    }
    Ok(())
}

impl Arguments {
    /// The explanation, and what may be a mistake in the files.
    fn explain(&self) -> anyhow::Result<(Explanation, Vec<String>)> {
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
        let cpus = CpuTable::builtin();
        // What a control plane would refuse is still explained.
        let mut warnings = machine_type
            .check(&cpus)
            .unwrap_or_else(|error| vec![error.to_string()]);
        let mistakes = rules.iter().filter_map(|rule| rule.check().err());
        warnings.extend(mistakes.map(|error| error.to_string()));
        let host = Host::new(machine_type, Arc::clone(&cpus))
            .with_context(|| format!("{} cannot be used", self.type_file.display()))?;
        let rules: Vec<_> = rules.iter().collect();
        Ok((Explanation::new(&host, &index, &rules), warnings))
    }
}

impl Explanation {
    fn new(host: &Host, index: &Index, rules: &[&Rule]) -> Self {
        let cpus = CpuTable::builtin();
        let selection = select(host, index, Facts { rules, pin: None });
        let entries = index.entries.iter().zip(&selection.verdicts);
        let reasons: Vec<_> = entries
            .map(|(entry, verdict)| Reason {
                digest: entry.digest.clone(),
                platform: entry.platform.as_ref().map(platform).unwrap_or_default(),
                requirements: entry.requirements(rules, &cpus),
                kept: verdict.is_kept(),
                reason: verdict.to_string(),
            })
            .collect();
        let kept = reasons.iter().filter(|reason| reason.kept);
        Self {
            kept: kept.map(|reason| reason.digest.clone()).collect(),
            reasons,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::output::Format;

    const CORPUS: &str = include_str!("../../../../policy/tests/corpus/cases.json");

    /// What is printed for a case whose parts are written to files by `write`.
    fn explained(case: &Value, write: fn(&Value) -> String) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, write(&case[name])).unwrap();
            path
        };
        let arguments = Arguments {
            index: file("index"),
            type_file: file("machine_type"),
            rules: case.get("rules").map(|_| file("rules")),
        };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        run(
            &arguments,
            &mut Output::new(Format::Json, &mut out, &mut notes),
        )
        .unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_case_of_the_corpus_is_explained_from_json_and_yaml() {
        let corpus: Value = serde_json::from_str(CORPUS).unwrap();
        for case in corpus["cases"].as_array().unwrap() {
            let json = explained(case, Value::to_string);
            let yaml = explained(case, |part| serde_saphyr::to_string(part).unwrap());

            assert_eq!(json["kept"], case["expect"]["kept"], "{}", case["id"]);
            assert_eq!(json, yaml, "{}", case["id"]);
            let entries = case["index"]["manifests"].as_array().unwrap();
            assert_eq!(json["reasons"].as_array().unwrap().len(), entries.len());
        }
    }
}
