//! Which of several entries that fit is chosen.

use super::*;

/// The winner of two entries for linux/amd64, in both orders of the index.
fn best(features: &[&str], a: (&str, &[&str]), b: (&str, &[&str])) -> String {
    let (a, b) = (amd64(a.0, a.1), amd64(b.0, b.1));
    let one = kept(features, &[a.clone(), b.clone()]);
    let other = kept(features, &[b, a]);
    assert_eq!(one, other, "the order of the index decided");
    assert_eq!(one.len(), 1);
    one[0].clone()
}

#[test]
fn namespaces_are_compared_in_a_fixed_order() {
    let host = [
        "cpu:zen4",
        "nvcap:9.0",
        "gfx:gfx90a",
        "cuda:12.4",
        "rocm:6.1",
        "aaa:1",
        "glibc:2.39",
    ];
    let order = [
        "nvcap:9.0",
        "gfx:gfx90a",
        "cpu:zen4",
        "popcnt",
        "cuda:12.0",
        "rocm:6.0",
        "aaa:1",
        "glibc:2.30",
    ];
    for pair in order.windows(2) {
        assert_eq!(
            best(&host, (pair[0], &pair[..1]), (pair[1], &pair[1..])),
            pair[0]
        );
    }
}

#[test]
fn a_flag_lifts_to_the_level_that_first_has_it() {
    let host = ["cpu:skylake_avx512"];

    assert_eq!(
        best(&host, ("avx2", &["avx2"]), ("v2", &["cpu:x86_64_v2"])),
        "avx2"
    );
    assert_eq!(
        best(&host, ("avx2", &["avx2"]), ("v3", &["cpu:x86_64_v3"])),
        "v3"
    );
    assert_eq!(
        best(&host, ("avx512", &["avx512f"]), ("avx2", &["avx2"])),
        "avx512"
    );
    assert_eq!(best(&host, ("adx", &["adx"]), ("none", &[])), "adx");
}

#[test]
fn a_flag_beside_a_cpu_makes_it_better() {
    let host = ["cpu:skylake_avx512"];
    let plain = ("plain", &["cpu:haswell"][..]);

    assert_eq!(
        best(&host, ("flag", &["cpu:haswell", "avx2"]), plain),
        "flag"
    );
    assert_eq!(
        best(
            &host,
            ("flag", &["cpu:haswell", "avx512f"]),
            ("v3", &["cpu:skylake"])
        ),
        "flag"
    );
}

#[test]
fn a_label_is_better_than_none() {
    assert_eq!(
        best(&["cpu:zen3"], ("x86_64", &["cpu:x86_64"]), ("none", &[])),
        "x86_64"
    );
    assert_eq!(
        best(&["net:efa"], ("efa", &["net:efa"]), ("none", &[])),
        "efa"
    );
}

#[test]
fn only_values_that_fit_count() {
    let host = ["cpu:zen3", "nvcap:8.6"];

    assert_eq!(
        best(
            &host,
            ("wide", &["nvcap:8.0", "nvcap:9.0"]),
            ("near", &["nvcap:8.6"])
        ),
        "near"
    );
    assert_eq!(
        best(
            &host,
            ("wide", &["cpu:zen2", "cpu:zen5"]),
            ("near", &["cpu:zen3"])
        ),
        "near"
    );
}

#[test]
fn gpu_builds_go_from_specific_to_portable() {
    let host = ["nvcap:10.3"];
    let order = [
        "nvcap:10.3a",
        "nvcap:10.3f",
        "nvcap:10.0f",
        "nvcap:10.3",
        "nvcap:10.0",
        "nvcap:ptx10.0",
        "nvcap:ptx9.0",
    ];
    for pair in order.windows(2) {
        assert_eq!(
            best(&host, (pair[0], &pair[..1]), (pair[1], &pair[1..])),
            pair[0]
        );
    }

    let amd = ["gfx:gfx1030"];
    let (exact, group) = (
        ("exact", &["gfx:gfx1030"][..]),
        ("group", &["gfx:gfx10-3-generic"][..]),
    );
    assert_eq!(best(&amd, exact, group), "exact");
}

#[test]
fn higher_versions_are_better() {
    let host = ["cuda:12.4", "kernel:6.1"];

    assert_eq!(
        best(&host, ("12.4", &["cuda:12.4"]), ("12", &["cuda:12"])),
        "12.4"
    );
    assert_eq!(
        best(&host, ("6", &["kernel:6.0"]), ("5.15", &["kernel:5.15"])),
        "6"
    );
}

#[test]
fn more_requirements_met_are_better() {
    let host = ["cpu:zen3", "net:efa", "net:ib"];

    assert_eq!(
        best(
            &host,
            ("two", &["net:efa", "net:ib"]),
            ("one", &["net:efa"])
        ),
        "two"
    );
    assert_eq!(
        best(
            &host,
            ("two", &["cpu:zen2", "cpu:zen3"]),
            ("one", &["cpu:zen3"])
        ),
        "two"
    );
    assert_eq!(
        best(
            &host,
            ("two", &["cpu:zen3", "avx2", "bmi2"]),
            ("one", &["cpu:zen3", "bmi2"])
        ),
        "two"
    );
}

#[test]
fn a_level_that_is_met_counts_unless_a_cpu_says_the_same() {
    let haswell = amd64("haswell", &["cpu:haswell"]);
    let with_level = entry("level", "linux/amd64/v3", &["cpu:haswell"]);
    assert_eq!(
        kept(&["cpu:zen3", "cpu:haswell"], &[haswell, with_level]),
        ["level"]
    );

    let v3 = amd64("v3", &["cpu:x86_64_v3"]);
    let twice = entry("twice", "linux/amd64/v3", &["cpu:x86_64_v3"]);
    assert_eq!(kept(&["cpu:zen3"], &[v3, twice]), ["v3"]);
}

#[test]
fn a_repeated_requirement_counts_once() {
    let entries = [
        amd64("first", &["net:efa"]),
        amd64("second", &["net:efa", "net:efa", " net:efa"]),
    ];

    assert_eq!(kept(&["net:efa"], &entries), ["first"]);
}

#[test]
fn a_level_counts_as_its_cpu() {
    let host = ["cpu:icelake"];
    let entries = [
        entry("v3", "linux/amd64/v3", &[]),
        amd64("haswell", &["cpu:haswell"]),
    ];
    assert_eq!(kept(&host, &entries), ["haswell"]);

    let entries = [
        entry("v4", "linux/amd64/v4", &[]),
        amd64("skylake", &["cpu:skylake"]),
    ];
    assert_eq!(kept(&host, &entries), ["v4"]);

    let arm = [
        entry("v8.6", "linux/arm64/v8.6", &[]),
        entry("v9", "linux/arm64/v9", &[]),
    ];
    assert_eq!(kept(&["cpu:neoverse_v3ae"], &arm), ["v9"]);
}

#[test]
fn priority_is_an_integer_or_nothing() {
    let priority =
        |name: &str, value: &str| annotated(amd64(name, &[]), "io.metahub.priority", value);
    let winner = |a: &str, b: &str| kept(&[], &[priority("a", a), priority("b", b)]).remove(0);

    assert_eq!(winner("1", "2"), "b");
    assert_eq!(winner("0", "-1"), "a");
    assert_eq!(winner("-1", "high"), "b");
    assert_eq!(winner("9", " 10 "), "b");
    assert_eq!(winner("0", ""), "a");
}

#[test]
fn a_pin_wins_among_what_fits() {
    let entries = [
        annotated(amd64("first", &["cpu:zen3"]), "io.metahub.priority", "9"),
        amd64("generic", &[]),
        amd64("zen4", &["cpu:zen4"]),
    ];
    let pinned = |pin| {
        kept_of(
            kind(&["cpu:zen3"]),
            &entries,
            Facts {
                rules: &[],
                pin: Some(pin),
            },
        )
    };

    assert_eq!(pinned("generic"), ["generic"]);
    assert_eq!(pinned("zen4"), ["first"]);
    assert_eq!(pinned("gone"), ["first"]);
}

#[test]
fn a_pin_goes_before_the_types_mode() {
    let no_generic = MachineType {
        mode: crate::MatchMode::BestNoGeneric,
        ..kind(&["cpu:zen3"])
    };
    let entries = [amd64("generic", &[]), amd64("zen3", &["cpu:zen3"])];
    let facts = Facts {
        rules: &[],
        pin: Some("generic"),
    };

    assert_eq!(kept_of(no_generic, &entries, facts), ["generic"]);
}
