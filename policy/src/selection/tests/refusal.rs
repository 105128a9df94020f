//! The sentence that a host is told when nothing fits.

use super::*;
use crate::MatchMode;

fn sentence(kind: MachineType, entries: &[Entry]) -> String {
    let selection = selection(kind, entries, Facts::default());
    assert!(selection.is_empty());
    selection.refusal("qnib/bench:latest", "qnib-type2", &index(entries))
}

#[test]
fn it_names_the_type_what_is_needed_and_what_failed() {
    let entries = [
        amd64("zen4", &["cpu:zen4"]),
        amd64("again", &["cpu:zen4"]),
        amd64("gpu", &["cpu:skylake", "nvcap:5.2"]),
        arm64("arm", &[]),
    ];

    assert_eq!(
        sentence(kind(&["cpu:skylake"]), &entries),
        "no variant of qnib/bench:latest fits machine type qnib-type2: it has cpu:skylake; \
         variants need cpu:zen4 (host is not a zen4 or later), \
         nvcap:5.2 + cpu:skylake (host has no nvcap)"
    );
}

#[test]
fn it_names_platforms_when_they_alone_decide() {
    assert_eq!(
        sentence(
            kind(&["cpu:zen3"]),
            &[arm64("arm", &[]), entry("s", "linux/s390x", &[])]
        ),
        "no variant of qnib/bench:latest fits machine type qnib-type2: it has cpu:zen3; \
         variants are for linux/arm64, linux/s390x, not linux/amd64"
    );
}

#[test]
fn it_names_the_mode_when_that_decides() {
    let with = |mode| MachineType {
        mode,
        ..kind(&["cpu:zen3"])
    };

    let exact = sentence(
        with(MatchMode::Exact),
        &[amd64("a", &["cpu:zen2"]), amd64("b", &[])],
    );
    assert!(
        exact.ends_with("variants need exactly cpu:zen2, nothing and the type matches exactly"),
        "{exact}"
    );

    let generic = sentence(with(MatchMode::BestNoGeneric), &[amd64("b", &[])]);
    assert!(
        generic.ends_with("a variant needs nothing and the type takes no generic one"),
        "{generic}"
    );
}

#[test]
fn long_lists_are_cut() {
    let entries: Vec<_> = (0..100)
        .map(|n| amd64(&n.to_string(), &[&format!("net:{n}")]))
        .collect();

    let sentence = sentence(kind(&["cpu:zen3"]), &entries);

    assert!(sentence.len() <= 600, "{} bytes", sentence.len());
    assert!(sentence.ends_with(" more"), "{sentence}");
}

#[test]
fn what_others_wrote_can_neither_break_the_line_nor_flood_it() {
    let token = format!("net:\"\\\n\u{1b}[31m<é>{}", "x".repeat(5_000));
    let entries: Vec<_> = (0..9)
        .map(|n| amd64("it", &[&format!("{token}{n}")]))
        .collect();
    let selection = selection(kind(&["cpu:zen3"]), &entries, Facts::default());

    let sentence = selection.refusal(&"i\"".repeat(900), &"t\n".repeat(900), &index(&entries));

    assert!(sentence.len() <= 640, "{} bytes", sentence.len());
    assert!(
        sentence.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
        "{sentence}"
    );
    assert!(!sentence.contains(['"', '\\', '<', '>', '&']), "{sentence}");
}
