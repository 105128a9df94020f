//! What policy files promise.

use std::fs;

use tempfile::TempDir;

use super::*;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read(dir: &TempDir) -> anyhow::Result<PolicyFiles> {
    PolicyFiles::read(&[dir.path().to_owned()])
}

/// The error, with the directory cut off.
fn refusal(dir: &TempDir) -> String {
    let error = format!("{:#}", read(dir).unwrap_err());
    error.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn an_unknown_field_is_told_with_its_place() {
    let dir = directory(&[("a.yaml", "users:\n  - name: qnib\n    typos: []\n")]);

    let refused = refusal(&dir);

    assert!(refused.starts_with("a.yaml:3:5: "), "{refused}");
    assert!(refused.contains("typos"), "{refused}");
    assert!(!refused.contains("line"), "{refused}");
}

#[test]
fn a_value_of_the_wrong_form_is_told_with_its_place_its_field_and_what_to_write() {
    for (text, expected) in [
        ("users: 5\n", "a.yaml:1:8: users: a list is expected"),
        (
            "users:\n  - name: [a]\n",
            "a.yaml:2:11: users[0].name: a text is expected",
        ),
        (
            "users:\n  - name: a\n    types:\n      - {name: t, features: [cpu:]}\n",
            "a.yaml:4:30: users[0].types[0].features[0]: a text is expected here; quote it",
        ),
        (
            "users:\r\n  - name: a\r\n    types: [t]\r\n",
            "a.yaml:3:13: users[0].types[0]: names with values are expected",
        ),
        ("[]\n", "a.yaml:1:1: names with values are expected"),
        ("users:\n  - name:\n", "a.yaml:2:"),
        (
            "users:\n  - name: a\n    name: b\n",
            "a.yaml:3:5: `name` is there twice",
        ),
        (
            "users: []\n---\nusers: []\n",
            "a.yaml:3:1: a second document begins here",
        ),
        ("users:\n\t- name: a\n", "a.yaml:2:2: tabs"),
    ] {
        let dir = directory(&[("a.yaml", text)]);

        let refused = refusal(&dir);

        assert!(refused.starts_with(expected), "{text}: {refused}");
    }
}

#[test]
fn what_other_editors_and_people_who_share_text_write_is_read() {
    for text in [
        "\u{feff}users: [{name: a}]\n",
        "users:\r\n  - name: a\r\n",
        "users:\n  - name: a\n    types:\n      - {name: t, features: &f [avx2]}\n      \
         - {name: u, features: *f}\n",
        "%YAML 1.2\n---\nusers: [{name: a}]\n...\n",
    ] {
        let dir = directory(&[("a.yaml", text)]);

        let files = read(&dir).unwrap();

        assert_eq!(files.declaration().users[0].name, "a", "{text}");
    }
}

#[test]
fn a_wrong_value_deep_inside_is_told_with_its_place() {
    let text = "users:\n  - name: qnib\n    types:\n      - name: a\n        match: worst\n";
    let dir = directory(&[("a.yaml", text)]);

    let refused = refusal(&dir);

    assert!(refused.starts_with("a.yaml:5:16: "), "{refused}");
}

#[test]
fn files_of_a_directory_are_taken_together_in_the_order_of_their_names() {
    let dir = directory(&[
        ("b.yml", "users: [{name: two}]"),
        ("a.yaml", "users: [{name: one}]\nrules: []"),
        ("c.json", r#"{"users": [{"name": "three"}]}"#),
        ("notes.txt", "no policy"),
    ]);

    let files = read(&dir).unwrap();

    let users = files.declaration().users.iter();
    let names: Vec<&str> = users.map(|user| &*user.name).collect();
    assert_eq!(names, ["one", "two", "three"]);
}

#[test]
fn a_field_of_the_second_file_is_told_by_its_place_there() {
    let dir = directory(&[
        ("a.yaml", "users: [{name: one}, {name: two}]"),
        (
            "b.yaml",
            "\nusers:\n  - name: three\n    types: [{name: t}]\n",
        ),
    ]);
    let files = read(&dir).unwrap();

    let fault = files
        .fault("users[2].types[0].name", "is wrong")
        .to_string();

    let expected = format!(
        "{}/b.yaml:4:20: users[0].types[0].name: is wrong",
        dir.path().display()
    );
    assert_eq!(fault, expected);
}

#[test]
fn a_secret_file_is_read_beside_the_file_that_names_it() {
    let text = "users: [{name: qnib, types: [{name: a, secret_file: token}]}]";
    let dir = directory(&[("a.yaml", text), ("token", "hunter2\n")]);

    let files = read(&dir).unwrap();

    let machine_type = &files.declaration().users[0].types[0];
    assert_eq!(machine_type.secret, Some("hunter2".to_owned().into()));
    assert_eq!(machine_type.secret_file, None);
    assert!(files.names_files());
}

#[test]
fn a_secret_file_that_is_not_there_is_told_with_the_place_that_names_it() {
    let text = "users: [{name: qnib, types: [{name: a, secret_file: gone}]}]";
    let dir = directory(&[("a.yaml", text), ("b.yaml", text)]);

    let refused = refusal(&dir);

    let start = "a.yaml:1:53: users[0].types[0].secret_file: cannot read the secret in ";
    assert!(refused.starts_with(start), "{refused}");
}

/// The YAML in a page of the docs.
fn samples(page: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .filter(|block| block.contains("users:"))
        .collect()
}

#[test]
fn the_samples_in_the_docs_are_policies() {
    for page in ["policy-as-code.md", "operations.md"] {
        let samples = samples(page);

        assert!(!samples.is_empty(), "{page}");
        for sample in samples {
            let declared: Declaration = parse(&sample).unwrap();
            assert!(!declared.users.is_empty());
        }
    }
}

#[test]
fn a_file_of_comments_declares_nothing() {
    let dir = directory(&[("a.yaml", "# nothing yet\n")]);

    assert_eq!(read(&dir).unwrap().declaration(), &Declaration::default());
}
