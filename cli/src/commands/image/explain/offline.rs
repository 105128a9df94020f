//! Explains files. Needs neither a control plane nor a registry.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use metahub_policy::{CpuTable, Rule};
use serde::Serialize;

use super::print::NeedsOf;
use crate::{
    commands::image::source,
    explain::{
        Subject,
        content::Content,
        needs,
        outcome::{Reason, outcome},
        policy::NamedHost,
    },
    output::{Output, table},
    record::MachineType,
};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Files {
    /// The file that holds the image index, as the registry serves it; `-` is
    /// stdin. JSON or YAML.
    #[arg(long, value_name = "FILE")]
    pub(super) index: Option<PathBuf>,

    /// The file that holds the machine type, as `metahubctl type show` prints
    /// it; `-` is stdin. JSON or YAML.
    #[arg(
        long,
        value_name = "FILE",
        requires = "index",
        required_unless_present_any = ["image", "needs"]
    )]
    pub(super) type_file: Option<PathBuf>,

    /// The file that holds a list of rules, all of which apply; `-` is stdin.
    /// JSON or YAML.
    #[arg(long, value_name = "FILE", requires = "index")]
    pub(super) rules: Option<PathBuf>,
}

/// What the machine type gets, and why.
#[derive(Debug, Serialize)]
struct Explanation {
    /// The digests of the kept entries, in source order.
    kept: Vec<String>,
    /// One for each entry, in source order.
    reasons: Vec<Reason>,
}

/// What the files hold.
struct Read {
    name: String,
    content: Content,
    host: Option<NamedHost>,
    rules: Vec<Rule>,
}

pub(super) fn run(files: &Files, with_needs: bool, output: &mut Output<'_>) -> anyhow::Result<()> {
    let read = files.read(output)?;
    let subject = Subject {
        name: read.name.clone(),
        content: &read.content,
        rules: read.rules.iter().collect(),
        cpus: CpuTable::builtin(),
    };
    if with_needs {
        return print_needs(&subject, read.host.as_ref(), output);
    }
    let host = read
        .host
        .context("there is no machine type: give --type-file FILE")?;
    let outcome = outcome(&subject, &host, None)?;
    let explanation = Explanation {
        kept: outcome.kept,
        reasons: outcome.reasons,
    };
    output.record(&explanation, &table(&explanation.reasons))?;
    if explanation.kept.is_empty() {
        output.note("No variant fits.");
    }
    Ok(())
}

fn print_needs(
    subject: &Subject<'_>,
    host: Option<&NamedHost>,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let variants = needs::needs(subject);
    let types = host.iter();
    let types = types.map(|host| needs::standing(subject, host, None, &variants));
    let record = NeedsOf {
        image: subject.name.clone(),
        digest: subject.content.digest().to_owned(),
        types: types.collect(),
        variants,
    };
    output.record(&record, &record.text())
}

impl Files {
    /// Reads them. What a control plane would refuse is still explained, with
    /// a warning.
    fn read(&self, output: &mut Output<'_>) -> anyhow::Result<Read> {
        let index = self.index.as_deref().context("there is no index")?;
        let files = [
            Some(index),
            self.type_file.as_deref(),
            self.rules.as_deref(),
        ];
        let stdin = files
            .iter()
            .flatten()
            .filter(|path| **path == Path::new("-"));
        ensure!(stdin.count() <= 1, "only one of the files can be stdin");

        let content = Content::Index(source::index(index)?);
        let host = self.type_file.as_deref().map(|path| host(path, output));
        let rules = self.rules.as_deref().map(source::rules).transpose()?;
        let rules = rules.unwrap_or_default();
        let mistakes = rules.iter().filter_map(|rule| rule.check().err());
        let mistakes: Vec<_> = mistakes.map(|error| error.to_string()).collect();
        output.warn(&mistakes);
        Ok(Read {
            name: index.display().to_string(),
            content,
            host: host.transpose()?,
            rules,
        })
    }
}

/// The machine type in a file, called by the file's name.
fn host(path: &Path, output: &mut Output<'_>) -> anyhow::Result<NamedHost> {
    let cpus = CpuTable::builtin();
    let shape = source::machine_type(path)?;
    let warnings = shape
        .check(&cpus)
        .unwrap_or_else(|error| vec![error.to_string()]);
    output.warn(&warnings);
    let record = MachineType {
        user: String::new(),
        name: path.display().to_string(),
        shape,
    };
    NamedHost::new(record, &Arc::clone(&cpus))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::output::Format;

    const CORPUS: &str = include_str!("../../../../../policy/tests/corpus/cases.json");

    /// What is printed for a case whose parts are written to files by `write`.
    fn explained(case: &Value, write: fn(&Value) -> String, needs: bool) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            case.get(name).map(|part| {
                let path = dir.path().join(name);
                fs::write(&path, write(part)).unwrap();
                path
            })
        };
        let files = Files {
            index: file("index"),
            type_file: file("machine_type"),
            rules: file("rules"),
        };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut output = Output::new(Format::Json, &mut out, &mut notes);
        run(&files, needs, &mut output).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn every_case_of_the_corpus_is_explained_from_json_and_yaml() {
        let corpus: Value = serde_json::from_str(CORPUS).unwrap();
        for case in corpus["cases"].as_array().unwrap() {
            let json = explained(case, Value::to_string, false);
            let yaml = explained(case, |part| serde_saphyr::to_string(part).unwrap(), false);

            assert_eq!(json["kept"], case["expect"]["kept"], "{}", case["id"]);
            assert_eq!(json, yaml, "{}", case["id"]);
            let entries = case["index"]["manifests"].as_array().unwrap();
            assert_eq!(json["reasons"].as_array().unwrap().len(), entries.len());
        }
    }

    #[test]
    fn a_type_of_the_corpus_is_served_exactly_where_the_case_keeps_something() {
        let corpus: Value = serde_json::from_str(CORPUS).unwrap();
        for case in corpus["cases"].as_array().unwrap() {
            let needs = explained(case, Value::to_string, true);

            let empty = case["expect"]["kept"].as_array().unwrap().is_empty();
            let standing = &needs["types"][0]["standing"];
            assert_eq!(standing == "nothing", empty, "{}", case["id"]);
        }
    }

    #[test]
    fn what_an_image_needs_is_said_without_a_machine_type() {
        let case = json!({"index": {"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{:064}", 1),
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64", "features": ["cpu:zen4"]},
        }]}});

        let needs = explained(&case, Value::to_string, true);

        assert_eq!(needs["variants"][0]["hosts"], json!([["cpu:zen4"]]));
        assert_eq!(needs["types"], json!([]));
    }
}
