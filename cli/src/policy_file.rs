//! Files that declare a policy: YAML or JSON, one or several, taken together.
//!
//! What is wrong is told with file, line and column, also when only the
//! control plane can tell that it is.

mod places;
mod secrets;
mod words;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};
use metahub_control::Declaration;
use serde::de::DeserializeOwned;

use self::{places::Field, words::Words};

/// Most values in a file, lists and mappings included.
const MOST_VALUES: usize = 5_000_000;
/// What counts as a policy file in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A policy from one or several files.
#[derive(Debug, Default)]
pub(crate) struct PolicyFiles {
    declaration: Declaration,
    files: Vec<PolicyFile>,
    /// Whether secrets or certificates come from further files.
    names_files: bool,
}

/// One of the files.
#[derive(Debug)]
struct PolicyFile {
    name: String,
    text: String,
    /// What the files before it declare.
    offset: Counts,
}

/// How much is declared of each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    users: usize,
    upstreams: usize,
    rules: usize,
    pins: usize,
    grants: usize,
    cpus: usize,
}

impl PolicyFiles {
    /// Reads files, the policy files in directories, and stdin for `-`.
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut whole = Self::default();
        for path in paths {
            if path == Path::new("-") {
                let mut text = String::new();
                let read = io::stdin().lock().read_to_string(&mut text);
                read.context("cannot read stdin")?;
                whole.add("stdin", text, Path::new("."))?;
            } else if path.is_dir() {
                for path in policy_files(path)? {
                    whole.add_file(&path)?;
                }
            } else {
                whole.add_file(path)?;
            }
        }
        Ok(whole)
    }

    /// What the files declare, with what the files hold that they name.
    pub(crate) fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// Whether the policy may change without a change of its files.
    pub(crate) fn names_files(&self) -> bool {
        self.names_files
    }

    /// An error about a field, with its place in the files in front.
    pub(crate) fn fault(&self, field: &str, reason: &str) -> anyhow::Error {
        anyhow!("{}", self.located(field, reason))
    }

    /// A warning with its place in the files in front, if it is about a field.
    pub(crate) fn warning(&self, text: &str) -> String {
        match text.split_once(": ") {
            Some((field, reason)) => self.located(field, reason),
            None => text.to_owned(),
        }
    }

    fn located(&self, field: &str, reason: &str) -> String {
        let parsed = Field::parse(field);
        let found = parsed.and_then(|field| self.file_of(field));
        let Some((file, field)) = found else {
            return format!("{field}: {reason}");
        };
        match places::find(&file.text, &field) {
            Some((line, column)) => {
                format!("{}:{line}:{column}: {field}: {reason}", file.name)
            }
            None => format!("{}: {field}: {reason}", file.name),
        }
    }

    /// The file that declares a field, and what the field is called in there.
    fn file_of(&self, field: Field) -> Option<(&PolicyFile, Field)> {
        let (list, index) = field.first()?;
        let start = |file: &PolicyFile| file.offset.of_kind(list);
        let mut files = self.files.iter().rev();
        let file = files.find(|file| start(file).is_some_and(|start| start <= index))?;
        let local = index - start(file)?;
        Some((file, field.at(local)))
    }

    fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        self.add(&path.display().to_string(), text, directory)
    }

    fn add(&mut self, name: &str, text: String, directory: &Path) -> anyhow::Result<()> {
        let mut declared: Declaration =
            parse(&text).map_err(|error| in_file(name, &text, &error))?;
        let offset = Counts::of(&self.declaration);
        self.files.push(PolicyFile {
            name: name.to_owned(),
            text,
            offset,
        });
        let read = secrets::read(&mut declared, directory);
        self.names_files |= read.map_err(|fault| {
            let field = Field::parse(&fault.field).map(|field| field.after(offset));
            let field = field.map_or(fault.field, |field| field.to_string());
            self.fault(&field, &format!("{:#}", fault.reason))
        })?;
        self.merge(declared);
        Ok(())
    }

    fn merge(&mut self, more: Declaration) {
        let whole = &mut self.declaration;
        whole.users.extend(more.users);
        if let Some(upstreams) = more.upstreams {
            whole.upstreams.get_or_insert_default().extend(upstreams);
        }
        whole.rules.extend(more.rules);
        whole.pins.extend(more.pins);
        whole.grants.extend(more.grants);
        whole.cpus.extend(more.cpus);
    }
}

impl Counts {
    fn of(declaration: &Declaration) -> Self {
        Self {
            users: declaration.users.len(),
            upstreams: declaration.upstreams.as_ref().map_or(0, Vec::len),
            rules: declaration.rules.len(),
            pins: declaration.pins.len(),
            grants: declaration.grants.len(),
            cpus: declaration.cpus.len(),
        }
    }

    fn lists(self) -> [(&'static str, usize); 6] {
        [
            ("users", self.users),
            ("upstreams", self.upstreams),
            ("rules", self.rules),
            ("pins", self.pins),
            ("grants", self.grants),
            ("cpus", self.cpus),
        ]
    }

    fn of_kind(self, list: &str) -> Option<usize> {
        let mut lists = self.lists().into_iter();
        lists
            .find(|(name, _)| *name == list)
            .map(|(_, count)| count)
    }
}

/// The policy files in a directory, by name. Not those in directories in it.
fn policy_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let ending = path.extension().and_then(|it| it.to_str());
        if ending.is_some_and(|it| ENDINGS.contains(&it)) && path.is_file() {
            paths.push(path);
        }
    }
    ensure!(
        !paths.is_empty(),
        "{} holds no file that ends with .yaml, .yml or .json",
        directory.display()
    );
    paths.sort();
    Ok(paths)
}

/// Reads YAML, of which JSON is a part.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: MOST_VALUES,
            max_events: 2 * MOST_VALUES,
        },
    };
    // A file of comments only declares nothing.
    serde_saphyr::from_str_with_options(text, options)
}

fn in_file(name: &str, text: &str, error: &serde_saphyr::Error) -> anyhow::Error {
    let said = error.render_with_formatter(&Words);
    let Some(at) = error.location() else {
        return anyhow!("{name}: {said}");
    };
    let (line, column) = (at.line(), at.column());
    let said_again = format!(" at line {line}, column {column}");
    let reason = said.strip_suffix(&said_again).unwrap_or(&said);
    match places::at(text, (line, column)) {
        Some(field) => anyhow!("{name}:{line}:{column}: {field}: {reason}"),
        None => anyhow!("{name}:{line}:{column}: {reason}"),
    }
}

#[cfg(test)]
mod tests;
