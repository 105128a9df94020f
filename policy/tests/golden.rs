//! Guards the bytes of trimmed indexes over releases.
//!
//! A recipe made by one release is used by the next: the same kept entries of
//! the same source must give the same digest for ever. A change of a line in
//! `golden/trimmed.txt` breaks digests that hosts hold; a new line is fine.

use aws_lc_rs::digest::{SHA256, digest};
use metahub_policy::{CpuTable, Facts, Host, Index, MachineType, Rule, flatten, select, trim};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Corpus {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    machine_type: MachineType,
    /// As it is written: the digest is of these bytes.
    index: Box<RawValue>,
    #[serde(default)]
    rules: Vec<Rule>,
}

fn sha256(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// `<name> <digest of the trimmed index>`, or `nothing` where nothing fits.
fn line(name: &str, source: &[u8], kind: MachineType, rules: &[Rule]) -> String {
    let host = Host::new(kind, CpuTable::builtin()).expect("a usable type");
    let index = Index::parse(source).expect("a usable index");
    let rules: Vec<&Rule> = rules.iter().collect();
    let facts = Facts {
        rules: &rules,
        pin: None,
    };
    let selection = select(&host, &index, facts);
    let trimmed = match selection.is_empty() {
        true => "nothing".to_owned(),
        false => {
            let trimmed = trim(source, &selection.kept, &sha256(source)).expect("kept entries");
            Index::parse(&trimmed).expect("a trimmed index is an index");
            sha256(&trimmed)
        }
    };
    format!("{name} {trimmed}\n")
}

fn any_host() -> MachineType {
    serde_json::from_str(r#"{"features":["net:efa"]}"#).expect("a machine type")
}

#[test]
fn trimmed_indexes_have_the_digests_that_earlier_releases_gave_them() {
    let corpus: Corpus =
        serde_json::from_str(include_str!("corpus/cases.json")).expect("the corpus");
    let spelling = include_bytes!("golden/spelling.json");
    let nested = include_bytes!("golden/nested.json");
    let child = include_bytes!("golden/nested-child.json");
    let flat = flatten(nested, &[(&sha256(child), child)]).expect("an index with a nested one");

    let cases = corpus.cases.into_iter().map(|case| {
        let source = case.index.get().as_bytes();
        line(&case.id, source, case.machine_type, &case.rules)
    });
    let mut lines: String = cases.collect();
    lines += &line("spelling", spelling, any_host(), &[]);
    lines += &line("nested", &flat, any_host(), &[]);

    assert!(lines == include_str!("golden/trimmed.txt"), "got:\n{lines}");
}

#[test]
fn a_trimmed_index_is_what_its_golden_file_says_byte_by_byte() {
    let source = include_bytes!("golden/spelling.json");
    let index = Index::parse(source).expect("an index");
    let host = Host::new(any_host(), CpuTable::builtin()).expect("a usable type");
    let selection = select(&host, &index, Facts::default());

    let trimmed = trim(source, &selection.kept, &sha256(source)).expect("kept entries");

    let trimmed = String::from_utf8(trimmed).expect("text");
    let expected = include_str!("golden/spelling.trimmed.json");
    assert!(trimmed == expected.trim_end(), "got:\n{trimmed}");
}
