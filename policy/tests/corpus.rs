//! The selection corpus: language-neutral cases that are the contract.

use std::collections::BTreeMap;

use metahub_policy::{CpuTable, Facts, Host, Index, MachineType, Rule, select};
use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    version: u32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    title: String,
    machine_type: MachineType,
    index: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    expect: Expectation,
    names: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Expectation {
    kept: Vec<String>,
}

fn kept(case: &Case) -> Vec<String> {
    let host = Host::new(case.machine_type.clone(), CpuTable::builtin()).expect("a usable type");
    let index = Index::parse(case.index.to_string().as_bytes()).expect("a usable index");
    let rules: Vec<&Rule> = case.rules.iter().collect();
    let facts = Facts {
        rules: &rules,
        pin: None,
    };
    let selection = select(&host, &index, facts);
    let places = selection.kept.iter();
    places
        .map(|place| index.entries[*place].digest.clone())
        .collect()
}

#[test]
fn every_case_of_the_corpus_keeps_what_it_expects() {
    check(include_str!("corpus/cases.json"));
}

/// Each case names the public source that it is from.
#[test]
fn every_case_from_a_public_source_keeps_what_the_source_says() {
    check(include_str!("corpus/public-sources.json"));
}

fn check(corpus: &str) {
    let corpus: Corpus = serde_json::from_str(corpus).expect("a corpus");
    assert_eq!(corpus.version, 1);

    for case in &corpus.cases {
        let names = |digests: &[String]| {
            let name = |digest| case.names.get(digest).cloned().unwrap_or_default();
            digests.iter().map(name).collect::<Vec<_>>()
        };
        let (kept, expected) = (kept(case), &case.expect.kept);

        assert_eq!(names(&kept), names(expected), "{}: {}", case.id, case.title);
        assert_eq!(&kept, expected, "{}: {}", case.id, case.title);
    }
}
