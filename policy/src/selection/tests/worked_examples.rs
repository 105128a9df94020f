//! The worked examples of `docs/selection.md`.

use super::*;
use crate::MatchMode;

fn bench() -> [Entry; 4] {
    [
        amd64("generic", &[]),
        amd64("sky", &["cpu:skylake"]),
        amd64("bdw", &["cpu:broadwell"]),
        amd64("gpu", &["cpu:broadwell", "nvcap:5.2"]),
    ]
}

#[test]
fn each_type_gets_of_qnib_bench_what_the_page_says() {
    for (features, expected) in [
        (&["cpu:broadwell"][..], &["bdw"][..]),
        (&["cpu:skylake"], &["sky"]),
        (&["cpu:broadwell", "nvcap:5.2"], &["gpu"]),
        (&["cpu:skylake", "nvcap:5.2"], &["gpu"]),
        (&["cpu:zen4"], &["generic"]),
        (&["cpu:broadwell", "nvcap:9.0"], &["bdw"]),
        (&["cpu:neoverse_n1"], &[]),
    ] {
        assert_eq!(kept(features, &bench()), expected, "{features:?}");
    }
}

#[test]
fn modes_do_with_qnib_bench_what_the_page_says() {
    let with = |mode, features: &[&str]| {
        let kind = MachineType {
            mode,
            ..kind(features)
        };
        kept_of(kind, &bench(), Facts::default())
    };

    assert_eq!(with(MatchMode::Exact, &["cpu:broadwell"]), ["bdw"]);
    assert!(with(MatchMode::BestNoGeneric, &["cpu:haswell"]).is_empty());
}

#[test]
fn the_other_cases_go_as_the_page_says() {
    let case = |features: &[&str], entries: &[Entry], expected: &[&str]| {
        assert_eq!(kept(features, entries), expected, "{features:?}");
    };

    let two = [
        amd64("a", &["nvcap:9.0"]),
        amd64("b", &["nvcap:8.0", "nvcap:9.0"]),
    ];
    case(&["nvcap:8.0", "nvcap:9.0"], &two, &["b"]);
    let level = [
        amd64("a", &["cpu:skylake"]),
        entry("b", "linux/amd64/v4", &[]),
    ];
    case(&["cpu:skylake_avx512"], &level, &["b"]);
    let flag = [amd64("a", &["avx2"]), amd64("b", &["cpu:x86_64_v2"])];
    case(&["cpu:haswell"], &flag, &["a"]);
    let cuda = ["12.10", "12.2", "11.8"].map(|v| amd64(v, &[&format!("cuda:{v}")]));
    case(&["cuda:12.4"], &cuda, &["12.2"]);
    let gfx = [
        amd64("a", &["gfx:gfx10-3-generic"]),
        amd64("b", &["gfx:gfx1030"]),
    ];
    case(&["gfx:gfx1030"], &gfx, &["b"]);
    let platforms = [
        amd64("a", &[]),
        amd64("b", &["net:efa"]),
        entry("c", "linux/arm64/v8", &[]),
    ];
    case(&["net:efa"], &platforms, &["b", "c"]);
}

#[test]
fn the_refusal_reads_as_the_page_says() {
    let entries = &bench()[1..];
    let selection = selection(kind(&["cpu:haswell"]), entries, Facts::default());

    let sentence = selection.refusal("qnib/bench:latest", "qnib-type2", &index(entries));

    let page = include_str!("../../../../docs/selection.md").replace('\n', " ");
    assert!(page.contains(&sentence), "{sentence}");
}
