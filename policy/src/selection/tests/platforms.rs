//! Which platforms a type keeps entries of, and what is no candidate.

use super::*;
use crate::index::OCI_INDEX;

fn windows(name: &str, os_version: &str) -> Entry {
    let mut entry = entry(name, "windows/amd64", &[]);
    entry.platform.as_mut().unwrap().os_version = os_version.into();
    entry
}

fn arm(variant: Option<&str>) -> MachineType {
    MachineType {
        architecture: Some("arm".into()),
        variant: variant.map(str::to_owned),
        ..kind(&[])
    }
}

#[test]
fn clients_tell_windows_entries_apart_by_version() {
    let entries = [
        windows("2019", "10.0.17763.1"),
        windows("2022", "10.0.20348.1"),
    ];
    let host = |os_version: Option<&str>| MachineType {
        os: "windows".into(),
        architecture: Some("amd64".into()),
        os_version: os_version.map(str::to_owned),
        ..kind(&[])
    };
    let kept = |os_version| kept_of(host(os_version), &entries, Facts::default());

    assert_eq!(kept(None), ["2019", "2022"]);
    assert_eq!(kept(Some("10.0.20348.2031")), ["2022"]);
    assert_eq!(kept(Some("10.0.20348")), ["2022"]);
    assert_eq!(kept(Some("10.0.17763.9")), ["2019"]);
    assert!(kept(Some("10.0.19045.1")).is_empty());
}

#[test]
fn a_windows_host_runs_the_newest_older_build_with_a_stable_interface() {
    let entries = [
        windows("2019", "10.0.17763.1"),
        windows("2022-old", "10.0.20348.1"),
        windows("2022", "10.0.20348.3692"),
        windows("next", "10.0.27000.1"),
        windows("any", ""),
    ];
    let host = |os_version: &str| MachineType {
        os: "windows".into(),
        architecture: Some("amd64".into()),
        os_version: Some(os_version.into()),
        ..kind(&[])
    };
    let kept = |version, entries: &[Entry]| kept_of(host(version), entries, Facts::default());

    assert_eq!(kept("10.0.26100.1", &entries[..4]), ["2022"]);
    assert_eq!(kept("10.0.20348.5", &entries), ["2022"]);
    assert_eq!(kept("10.0.26100.1", &entries), ["any"]);
    assert!(kept("10.0.26100.1", &entries[..1]).is_empty());
    let none = selection(host("10.0.26100.1"), &entries[..1], Facts::default());
    let said = none.refusal("win/core", "u-win25", &index(&entries[..1]));
    assert!(said.ends_with("for windows/amd64 10.0.17763.1, not windows/amd64 10.0.26100.1"));
}

#[test]
fn images_of_32_bit_are_the_last_resort_of_64_bit_hosts() {
    let fits_386 = entry("386", "linux/386", &["isa:sse2"]);
    let arm = ["v5", "v6", "v7"].map(|v| entry(v, &format!("linux/arm/{v}"), &[]));
    let zen2 = amd64("zen2", &["cpu:zen2"]);
    let with_amd64 = [fits_386.clone(), zen2.clone()];
    let amd64_type = MachineType {
        architecture: Some("amd64".into()),
        ..kind(&[])
    };

    assert_eq!(kept(&["cpu:zen3"], &with_amd64), ["zen2"]);
    assert_eq!(kept(&["cpu:haswell"], &with_amd64), ["386"]);
    assert_eq!(kept_of(amd64_type, &with_amd64, Facts::default()), ["386"]);
    assert_eq!(kept(&["cpu:graviton3"], &arm), ["v7"]);
    assert_eq!(
        kept(&["cpu:graviton3"], &[arm[0].clone(), arm64("arm64", &[])]),
        ["arm64"]
    );
    assert!(kept(&["cpu:zen3"], &arm).is_empty());
}

#[test]
fn a_last_resort_is_compared_only_when_the_own_platform_has_nothing() {
    let entries = [entry("386", "linux/386", &[]), amd64("zen4", &["cpu:zen4"])];
    let none = selection(kind(&["cpu:zen3"]), &entries, Facts::default());
    let own = selection(kind(&["cpu:zen4"]), &entries, Facts::default());

    assert_eq!(none.kept, [0]);
    assert!(matches!(
        own.verdicts[0],
        crate::Verdict::OtherPlatform { .. }
    ));
}

#[test]
fn a_type_of_all_platforms_keeps_for_the_others_what_a_host_without_features_gets() {
    let entries = [
        amd64("generic", &[]),
        amd64("zen3", &["cpu:zen3"]),
        arm64("v9", &["cpu:armv9.0a"]),
        arm64("arm64", &[]),
        entry("windows", "windows/amd64", &[]),
        entry("386", "linux/386", &[]),
        entry("z15", "linux/s390x/z15", &[]),
    ];
    let all = |features: &[&str]| MachineType {
        platforms: crate::Platforms::All,
        ..kind(features)
    };
    let kept = |kind, entries: &[Entry]| kept_of(kind, entries, Facts::default());

    let others = ["arm64", "windows", "386"];
    assert_eq!(kept(all(&["cpu:zen4"]), &entries)[0], "zen3");
    assert_eq!(kept(all(&["cpu:zen4"]), &entries)[1..], others);
    assert_eq!(kept(all(&["cpu:haswell"]), &entries)[0], "generic");
    assert_eq!(kept(all(&["cpu:haswell"]), &entries[1..])[..], others);
}

#[test]
fn clients_tell_entries_apart_by_plain_os_features() {
    let mut plain = amd64("plain", &["cpu:zen2"]);
    plain.platform.as_mut().unwrap().os_features = vec!["x".into(), "net:efa".into()];
    let entries = [amd64("none", &["cpu:zen3"]), plain];

    assert_eq!(kept(&["cpu:zen3", "net:efa"], &entries), ["none", "plain"]);
}

#[test]
fn a_32_bit_arm_type_keeps_the_nearest_variant_that_fits() {
    let entries = ["v5", "v6", "v7"].map(|v| entry(v, &format!("linux/arm/{v}"), &[]));
    let kept = |variant| kept_of(arm(variant), &entries, Facts::default());

    assert_eq!(kept(Some("v7")), ["v7"]);
    assert_eq!(kept(Some("v6")), ["v6"]);
    assert_eq!(kept(Some("8")), ["v7"]);
    assert_eq!(kept(None), ["v5", "v6", "v7"]);
    assert_eq!(
        kept_of(arm(Some("v7")), &entries[..2], Facts::default()),
        ["v6"]
    );
    assert!(kept_of(arm(Some("v5")), &entries[1..], Facts::default()).is_empty());
}

#[test]
fn a_32_bit_arm_type_passes_over_a_nearer_variant_that_does_not_fit() {
    let entries = [
        entry("v6", "linux/arm/v6", &[]),
        entry("v7", "linux/arm/v7", &["net:efa"]),
    ];

    assert_eq!(kept_of(arm(Some("v7")), &entries, Facts::default()), ["v6"]);
}

#[test]
fn an_arm_entry_without_variant_is_a_v7_one_as_clients_say() {
    let entries = [entry("bare", "linux/arm", &[])];

    assert_eq!(
        kept_of(arm(Some("v7")), &entries, Facts::default()),
        ["bare"]
    );
    assert!(kept_of(arm(Some("v6")), &entries, Facts::default()).is_empty());
}

#[test]
fn a_given_architecture_counts_and_not_the_cpus() {
    let zen3_386 = MachineType {
        architecture: Some("386".into()),
        ..kind(&["cpu:zen3"])
    };
    let entries = [amd64("amd64", &[]), entry("386", "linux/386", &["avx2"])];

    assert_eq!(kept_of(zen3_386, &entries, Facts::default()), ["386"]);
}

#[test]
fn a_type_with_cpus_of_two_architectures_keeps_the_best_of_each() {
    let entries = [
        amd64("zen2", &["cpu:zen2"]),
        amd64("generic", &[]),
        arm64("n1", &["cpu:neoverse_n1"]),
        entry("s390x", "linux/s390x", &[]),
    ];

    assert_eq!(
        kept(&["cpu:zen3", "cpu:graviton3"], &entries),
        ["zen2", "n1"]
    );
}

#[test]
fn other_words_for_a_platform_mean_the_same() {
    let entries = [entry("it", "Linux/x86_64", &[])];

    assert_eq!(kept(&["cpu:zen3"], &entries), ["it"]);
}

#[test]
fn an_entry_without_platform_is_kept_only_when_nothing_else_fits() {
    let bare = entry("bare", "", &[]);

    assert_eq!(
        kept(&["cpu:zen3"], &[bare.clone(), amd64("amd64", &[])]),
        ["amd64"]
    );
    assert_eq!(
        kept(&["cpu:zen3"], &[bare.clone(), arm64("arm64", &[])]),
        ["bare"]
    );
    assert_eq!(
        kept(&["cpu:zen3"], &[bare, amd64("zen4", &["cpu:zen4"])]),
        ["bare"]
    );
}

#[test]
fn an_index_that_lists_no_image_with_a_platform_is_kept_whole() {
    let bare = |name| entry(name, "", &[]);
    let artifact = |name, platform| Entry {
        artifact_type: Some("application/vnd.example".into()),
        ..entry(name, platform, &[])
    };
    let whole = |entries: &[Entry]| {
        for features in [&["cpu:zen3"][..], &[]] {
            let selection = selection(kind(features), entries, Facts::default());
            assert_eq!(selection.kept.len(), entries.len());
            assert!(!selection.is_empty());
        }
    };

    whole(&[bare("one"), bare("two")]);
    whole(&[
        artifact("one", "linux/amd64"),
        artifact("two", "linux/arm64"),
    ]);
    whole(&[artifact("one", ""), artifact("two", "")]);
    whole(&[
        entry("one", "wasi/wasm", &[]),
        entry("two", "wasip1/wasm", &[]),
    ]);
    whole(&[]);
}

#[test]
fn an_artifact_type_that_is_an_image_configs_is_an_images() {
    let typed = |name, platform, kind: &str| Entry {
        artifact_type: Some(kind.into()),
        ..entry(name, platform, &[])
    };
    let oci = "application/vnd.oci.image.config.v1+json";
    let docker = "application/vnd.docker.container.image.v1+json";
    let entries = [
        typed("sbom", "linux/amd64", "application/spdx+json"),
        typed("bare", "", oci),
        typed("it", "linux/amd64", oci),
        typed("other", "linux/arm64", docker),
    ];

    assert_eq!(kept(&["cpu:zen3"], &entries), ["it"]);
    assert_eq!(kept(&["cpu:graviton3"], &entries), ["other"]);
}

#[test]
fn images_in_two_compressions_are_kept_together_and_the_plain_one_is_the_image() {
    let zstd = |entry| annotated(entry, "io.github.containers.compression.zstd", "true");
    let entries = [
        zstd(amd64("amd64-zstd", &["avx2"])),
        amd64("amd64", &["avx2"]),
        amd64("again", &["avx2"]),
        arm64("arm64", &[]),
        zstd(arm64("arm64-zstd", &[])),
        zstd(amd64("zen4-zstd", &["cpu:zen4"])),
    ];

    let haswell = selection(kind(&["cpu:haswell"]), &entries, Facts::default());

    assert_eq!(haswell.kept, [0, 1]);
    assert_eq!(haswell.single_image(), Some(1));
    assert_eq!(kept(&["cpu:graviton3"], &entries), ["arm64", "arm64-zstd"]);
    assert_eq!(kept(&["cpu:zen4"], &entries), ["zen4-zstd"]);
}

#[test]
fn entries_without_platform_are_chosen_among_by_their_annotations() {
    let with = |name, features| annotated(entry(name, "", &[]), "io.metahub.features", features);
    let entries = [
        with("zen4", "cpu:zen4"),
        with("zen2", "cpu:zen2"),
        entry("bare", "", &[]),
    ];

    assert_eq!(kept(&["cpu:zen3"], &entries), ["zen2"]);
    assert_eq!(kept(&["cpu:haswell"], &entries), ["bare"]);
    assert!(kept(&["cpu:haswell"], &entries[..2]).is_empty());
}

#[test]
fn artifacts_nested_indexes_and_other_media_are_no_candidates() {
    let artifact = Entry {
        artifact_type: Some("application/spdx+json".into()),
        ..amd64("artifact", &[])
    };
    let typed = |name, media_type: &str| Entry {
        media_type: media_type.into(),
        ..amd64(name, &[])
    };
    let entries = [
        artifact,
        typed("nested", OCI_INDEX),
        typed("other", "application/vnd.example+json"),
        entry("unknown", "unknown/unknown", &[]),
        entry("image", "plan9/amd64", &[]),
    ];

    assert!(kept(&[], &entries).is_empty());
    assert!(kept(&["cpu:zen3"], &entries).is_empty());
}

#[test]
fn attestations_follow_the_entry_that_they_name() {
    let attestation = |name, of| {
        annotated(
            entry(name, "unknown/unknown", &[]),
            "vnd.docker.reference.digest",
            of,
        )
    };
    let by_subject = Entry {
        subject: Some("zen3".into()),
        artifact_type: Some("application/vnd.in-toto+json".into()),
        ..entry("subject", "", &[])
    };
    let entries = [
        attestation("of-zen3", "zen3"),
        attestation("of-zen2", "zen2"),
        amd64("zen2", &["cpu:zen2"]),
        amd64("zen3", &["cpu:zen3"]),
        by_subject,
        attestation("orphan", "gone"),
    ];

    assert_eq!(
        kept(&["cpu:zen3"], &entries),
        ["of-zen3", "zen3", "subject"]
    );
}

#[test]
fn an_attestation_of_nothing_kept_does_not_make_an_answer() {
    let attestation = entry("att", "unknown/unknown", &[]);
    let entries = [
        annotated(attestation, "vnd.docker.reference.digest", "zen4"),
        amd64("zen4", &["cpu:zen4"]),
    ];

    assert!(kept(&["cpu:zen3"], &entries).is_empty());
}

#[test]
fn an_image_that_is_listed_for_other_platforms_too_is_kept_whole() {
    let entries = [
        entry("it", "linux/arm/v6", &[]),
        entry("it", "linux/arm/v7", &[]),
    ];

    let selection = selection(arm(Some("v7")), &entries, Facts::default());

    assert_eq!(selection.kept, [0, 1]);
    assert_eq!(selection.single_image(), Some(1));
    assert_eq!(selection.kept_digests(&index(&entries)), ["it"]);
}

#[test]
fn an_image_that_is_listed_twice_for_one_client_platform_is_kept_once() {
    let entries = [
        entry("it", "linux/amd64/v3", &[]),
        entry("it", "linux/amd64/v2", &[]),
        entry("other", "linux/arm64", &[]),
    ];

    let selection = selection(kind(&["cpu:zen3"]), &entries, Facts::default());

    assert_eq!(selection.kept, [0]);
    assert_eq!(index(&entries).places_of(&["it"]), Some(vec![0]));
}
