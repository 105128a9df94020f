//! What the verdicts say.

use super::*;
use crate::{MatchMode, Misfit, NotCandidate, PinOutcome, Step, Verdict, index::OCI_INDEX};

fn said(kind: MachineType, entries: &[Entry]) -> Vec<String> {
    let verdicts = selection(kind, entries, Facts::default()).verdicts;
    verdicts.iter().map(Verdict::to_string).collect()
}

#[test]
fn each_verdict_reads_well() {
    let nested = Entry {
        media_type: OCI_INDEX.into(),
        ..entry("nested", "", &[])
    };
    let attestation = annotated(
        entry("att", "unknown/unknown", &[]),
        "vnd.docker.reference.digest",
        "sha256:zen2",
    );
    let entries = [
        amd64("sha256:zen2", &["cpu:zen2"]),
        amd64("generic", &[]),
        amd64("zen4", &["cpu:zen4", "net:efa"]),
        amd64("gpu", &["nvcap:8.0", "nvcap:9.0"]),
        arm64("arm", &[]),
        nested,
        attestation,
        entry("bare", "", &[]),
        entry("unknown", "unknown/unknown", &[]),
    ];

    let said = said(kind(&["cpu:zen3"]), &entries);

    assert_eq!(
        said,
        [
            "kept: the best that fits",
            "fits; sha256:zen2 is better by cpu",
            "needs cpu:zen4; the host has cpu:zen3",
            "needs nvcap:8.0 or nvcap:9.0; the host has no nvcap",
            "is for linux/arm64",
            "is an index itself",
            "kept: belongs to sha256:zen2",
            "names no platform, and an entry that names one fits",
            "belongs to no entry",
        ]
    );
}

#[test]
fn a_misfit_names_the_first_requirement_that_failed_and_all_of_them() {
    let entries = [amd64("it", &["net:efa", "glibc:2.38", "cpu:zen2", "avx2"])];

    let verdicts = selection(
        kind(&["cpu:zen3", "glibc:2.31"]),
        &entries,
        Facts::default(),
    )
    .verdicts;

    assert_eq!(
        verdicts,
        [Verdict::DoesNotFit(Misfit {
            namespace: "glibc".into(),
            needs: "glibc:2.38".into(),
            has: "glibc:2.31".into(),
            requires: ["cpu:zen2", "avx2", "glibc:2.38", "net:efa"]
                .map(String::from)
                .into(),
        })]
    );
}

#[test]
fn a_missing_flag_is_told_with_the_cpu() {
    let entries = [amd64("it", &["avx2", "avx512f"])];

    assert_eq!(
        said(kind(&["cpu:haswell"]), &entries),
        ["needs avx512f; the host has cpu:haswell"]
    );
}

#[test]
fn a_level_that_fails_is_told_as_its_cpu() {
    let entries = [entry("it", "linux/amd64/v3", &[])];

    assert_eq!(
        said(kind(&["cpu:ivybridge"]), &entries),
        ["needs cpu:x86_64_v3; the host has cpu:ivybridge"]
    );
}

#[test]
fn modes_say_that_they_decided() {
    let entries = [amd64("zen2", &["cpu:zen2"]), amd64("generic", &[])];
    let with = |mode| MachineType {
        mode,
        ..kind(&["cpu:zen3"])
    };

    assert_eq!(
        said(with(MatchMode::Exact), &entries),
        [
            "requires cpu:zen2; the type matches exactly",
            "requires nothing; the type matches exactly"
        ]
    );
    assert_eq!(
        said(with(MatchMode::BestNoGeneric), &entries)[1],
        "requires nothing; the type takes no generic variant"
    );
}

#[test]
fn the_step_that_decided_is_named() {
    let step = |a: Entry, b: Entry| {
        let facts = Facts {
            rules: &[],
            pin: Some("pinned"),
        };
        let selection = selection(kind(&["cpu:zen3", "net:efa"]), &[a, b], facts);
        let step = |verdict: &Verdict| match verdict {
            Verdict::OutRanked { step, .. } => Some(step.clone()),
            _ => None,
        };
        selection.verdicts.iter().find_map(step).unwrap()
    };
    let priority = |name| annotated(amd64(name, &[]), "io.metahub.priority", "1");

    assert_eq!(step(amd64("pinned", &[]), priority("b")), Step::Pin);
    assert_eq!(
        step(amd64("a", &["cpu:zen3"]), priority("b")),
        Step::Priority
    );
    assert_eq!(
        step(amd64("a", &["net:efa"]), amd64("b", &[])),
        Step::Namespace("net".into())
    );
    assert_eq!(
        step(
            amd64("a", &["cpu:zen2", "cpu:zen"]),
            amd64("b", &["cpu:zen2"])
        ),
        Step::Met
    );
    assert_eq!(step(amd64("a", &[]), amd64("b", &[])), Step::Place);
}

#[test]
fn the_outcome_of_a_pin_is_told() {
    let entries = [amd64("a", &[]), amd64("zen4", &["cpu:zen4"])];
    let with = |pin| selection(kind(&["cpu:zen3"]), &entries, Facts { rules: &[], pin });

    assert_eq!(with(None).pin, PinOutcome::NoPin);
    assert_eq!(with(Some("a")).pin, PinOutcome::Served);
    assert_eq!(with(Some("a")).verdicts[0], Verdict::Pinned);
    assert_eq!(with(Some("zen4")).pin, PinOutcome::NotServed);
    assert_eq!(with(Some("gone")).pin, PinOutcome::Absent);
}

#[test]
fn an_artifact_says_what_it_is() {
    let artifact = Entry {
        artifact_type: Some("application/spdx+json".into()),
        ..amd64("it", &[])
    };

    let entries = [artifact, amd64("image", &[])];
    let verdicts = selection(kind(&[]), &entries, Facts::default()).verdicts;

    let expected = NotCandidate::Artifact("application/spdx+json".into());
    assert_eq!(verdicts[0], Verdict::NotCandidate(expected));
}

#[test]
fn one_kept_image_is_single_besides_its_attestation() {
    let attestation = annotated(
        entry("att", "unknown/unknown", &[]),
        "vnd.docker.reference.digest",
        "a",
    );
    let entries = [attestation, amd64("a", &[]), arm64("b", &[])];
    let with = |features: &[&str]| selection(kind(features), &entries, Facts::default());

    assert_eq!(with(&["cpu:zen3"]).kept, [0, 1]);
    assert_eq!(with(&["cpu:zen3"]).single_image(), Some(1));
    assert_eq!(with(&[]).single_image(), None);
    assert_eq!(with(&["cpu:power9le"]).single_image(), None);
}

#[test]
fn requirements_are_told_in_one_spelling_and_order() {
    let entry = entry(
        "it",
        "linux/amd64/v3",
        &["net:efa", "isa:AVX2", "CPU:Milan"],
    );
    let rule = rule(&["net:ib"]);

    let cpus = CpuTable::builtin();

    assert_eq!(
        entry.requirements(&[], &cpus),
        ["cpu:zen3", "avx2", "net:efa", "cpu:x86_64_v3"]
    );
    assert_eq!(
        entry.requirements(&[&rule], &cpus),
        ["cpu:zen3", "avx2", "net:ib", "cpu:x86_64_v3"]
    );
}
