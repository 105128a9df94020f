//! Files in JSON or YAML, from the disk or from stdin.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, bail};
use metahub_policy::{MachineType, Rule};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::explain::{content::Source, name::ImageName};

/// Fields that tell what a file holds, whatever else is in it.
#[derive(Default, Deserialize)]
struct Probe {
    index: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    user: Option<IgnoredAny>,
}

/// A machine type as `metahubctl type show` prints it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnedType {
    #[serde(rename = "user")]
    _user: IgnoredAny,
    #[serde(rename = "name")]
    _name: IgnoredAny,
    #[serde(flatten)]
    shape: MachineType,
}

/// The index in a file: exactly the bytes when they are JSON.
pub(crate) fn index(path: &Path) -> anyhow::Result<Source> {
    let text = read(path)?;
    let wrong = || format!("{} holds no image index", path.display());
    let probe: Probe = parse(&text).unwrap_or_default();
    if probe.index.is_some() && probe.manifests.is_none() {
        bail!(
            "{} holds more than an image index: put the value of its `index` in a file of its own",
            path.display()
        );
    }
    if is_json(&text) {
        return Source::parse(text.into_bytes()).with_context(wrong);
    }
    let value: serde_json::Value = parse(&text).with_context(wrong)?;
    Source::parse(value.to_string().into_bytes()).with_context(wrong)
}

/// The machine type in a file, with or without the user and the name.
pub(crate) fn machine_type(path: &Path) -> anyhow::Result<MachineType> {
    let text = read(path)?;
    let probe: Probe = parse(&text).unwrap_or_default();
    let parsed = match probe.user {
        Some(_) => parse::<OwnedType>(&text).map(|owned| owned.shape),
        None => parse(&text),
    };
    parsed.with_context(|| format!("{} holds no machine type", path.display()))
}

/// The rules in a file, in the order of their names.
pub(crate) fn rules(path: &Path) -> anyhow::Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = parse(&read(path)?)
        .with_context(|| format!("{} holds no list of rules", path.display()))?;
    rules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rules)
}

/// The names of images in a file, one a line. `#` starts a comment.
pub(crate) fn names(path: &Path) -> anyhow::Result<Vec<ImageName>> {
    let text = read(path)?;
    let lines = text.lines();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(str::parse)
        .collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin().lock().by_ref())
    } else {
        fs::read_to_string(path)
    };
    text.with_context(|| format!("cannot read {}", path.display()))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Parses JSON, or YAML where it is no JSON.
fn parse<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    if is_json(text) {
        Ok(serde_json::from_str(text)?)
    } else {
        Ok(serde_saphyr::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn file(content: &str) -> (TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn a_machine_type_is_read_from_yaml_and_json_alike() {
        let (_a, yaml) = file("os: linux\nfeatures: [cpu:broadwell]\nos.version: 10.0\n");
        let (_b, json) =
            file(r#"{"os": "linux", "features": ["cpu:broadwell"], "os.version": "10.0"}"#);

        assert_eq!(machine_type(&yaml).unwrap(), machine_type(&json).unwrap());
    }

    #[test]
    fn what_type_show_prints_is_a_machine_type() {
        let (_dir, path) = file("user: qnib\nname: type1\nos: linux\nfeatures: [cpu:broadwell]\n");

        assert_eq!(machine_type(&path).unwrap().features, ["cpu:broadwell"]);
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let (_a, bare) = file("feature: [cpu:broadwell]\n");
        let (_b, owned) = file("user: qnib\nname: type1\nfeature: [cpu:broadwell]\n");

        for path in [bare, owned] {
            let error = format!("{:#}", machine_type(&path).unwrap_err());
            assert!(error.contains("`feature`"), "{error}");
        }
    }

    #[test]
    fn a_list_of_images_may_hold_comments_and_empty_lines() {
        let (_dir, path) = file("# ours\nqnib/bench:1  # the first\n\n  alpine\n");

        let names: Vec<_> = names(&path)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(names, ["qnib/bench:1", "alpine:latest"]);
    }

    #[test]
    fn a_whole_case_is_not_taken_for_an_index() {
        let (_dir, path) = file(r#"{"index": {"manifests": []}, "machine_type": {}}"#);

        let error = index(&path).unwrap_err();

        assert!(error.to_string().contains("a file of its own"), "{error}");
    }
}
