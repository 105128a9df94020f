//! Tests of the selection, rule by rule.

use crate::{CpuTable, Entry, Facts, Host, Index, MachineType, Platform, Rule, Selection, select};

mod compatibility;
mod platforms;
mod ranking;
mod refusal;
mod verdicts;
mod worked_examples;

/// An entry for a platform such as `linux/amd64/v3`, whose digest is its name.
fn entry(name: &str, platform: &str, features: &[&str]) -> Entry {
    let mut parts = platform.split('/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    Entry {
        digest: name.into(),
        platform: (!platform.is_empty()).then(|| Platform {
            os: part(),
            architecture: part(),
            variant: part(),
            features: features.iter().map(|text| text.to_string()).collect(),
            ..Platform::default()
        }),
        ..Entry::default()
    }
}

/// An entry for linux/amd64.
fn amd64(name: &str, features: &[&str]) -> Entry {
    entry(name, "linux/amd64", features)
}

/// An entry for linux/arm64.
fn arm64(name: &str, features: &[&str]) -> Entry {
    entry(name, "linux/arm64", features)
}

/// `entry` with an annotation.
fn annotated(mut entry: Entry, key: &str, value: &str) -> Entry {
    entry.annotations.insert(key.into(), value.into());
    entry
}

/// A type with `features`.
fn kind(features: &[&str]) -> MachineType {
    MachineType {
        features: features.iter().map(|text| text.to_string()).collect(),
        ..MachineType::default()
    }
}

fn index(entries: &[Entry]) -> Index {
    Index {
        entries: entries.to_vec(),
    }
}

fn selection(kind: MachineType, entries: &[Entry], facts: Facts<'_>) -> Selection {
    let host = Host::new(kind, CpuTable::builtin()).unwrap();
    select(&host, &index(entries), facts)
}

/// The names of the kept entries.
fn kept_of(kind: MachineType, entries: &[Entry], facts: Facts<'_>) -> Vec<String> {
    let selection = selection(kind, entries, facts);
    let places = selection.kept.iter();
    places.map(|place| entries[*place].digest.clone()).collect()
}

/// The names of the kept entries, for a type with `features` and no facts.
fn kept(features: &[&str], entries: &[Entry]) -> Vec<String> {
    kept_of(kind(features), entries, Facts::default())
}

/// Whether an entry for linux/amd64 that requires `required` fits a type with
/// `features`.
fn fits(features: &[&str], required: &[&str]) -> bool {
    fits_kind(kind(features), required)
}

fn fits_kind(kind: MachineType, required: &[&str]) -> bool {
    !kept_of(kind, &[amd64("it", required)], Facts::default()).is_empty()
}

fn rule(requires: &[&str]) -> Rule {
    Rule {
        name: "test".into(),
        repository: String::new(),
        tag: String::new(),
        matches: crate::RuleMatch::default(),
        requires: requires.iter().map(|text| text.to_string()).collect(),
    }
}
