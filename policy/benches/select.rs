//! How long a selection over 1,000 entries takes: the aim is under 1 ms.
//!
//! `cargo bench -p metahub-policy`

use std::{hint::black_box, time::Instant};

use metahub_policy::{CpuTable, Facts, Host, Index, MachineType, Selection, select};

const ENTRIES: usize = 1_000;
const ROUNDS: usize = 501;

fn main() {
    let index = Index::parse(source().as_bytes()).expect("an index");
    for (name, kind) in [
        (
            "typed host",
            r#"{"features":["cpu:sapphirerapids","nvcap:9.0","cuda:12.4","net:efa"]}"#,
        ),
        ("old host", r#"{"features":["cpu:nehalem"]}"#),
        ("any host", r#"{"features":["net:efa"]}"#),
    ] {
        let kind: MachineType = serde_json::from_str(kind).expect("a machine type");
        let host = Host::new(kind, CpuTable::builtin()).expect("a usable type");
        report(name, || select(&host, &index, Facts::default()));
    }
}

/// Variants of the usual kinds, for two architectures.
fn source() -> String {
    let features = [
        r#""cpu:haswell""#,
        r#""cpu:skylake_avx512","nvcap:9.0""#,
        r#""cpu:zen4","cuda:12.0","net:efa""#,
        r#""avx2","nvcap:8.0","nvcap:ptx8.0""#,
        r#""cpu:x86_64_v3","glibc:2.31""#,
        "",
    ];
    let entries = (0..ENTRIES).map(|n| {
        let architecture = ["amd64", "amd64", "amd64", "arm64"][n % 4];
        let features = features[n % features.len()];
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"sha256:{n:064x}","platform":{{"os":"linux","architecture":"{architecture}","features":[{features}]}}}}"#
        )
    });
    format!(
        r#"{{"manifests":[{}]}}"#,
        entries.collect::<Vec<_>>().join(",")
    )
}

#[expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
fn report(name: &str, run: impl Fn() -> Selection) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, last) = (times[ROUNDS / 2], times[ROUNDS - 1]);
    println!("{name}, {ENTRIES} entries: median {median:?}, longest {last:?}");
}
