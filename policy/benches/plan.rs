//! Benchmark of a plan for 10,000 nodes, from the text that kubectl prints. The
//! aim is under 1 s.
//!
//! `cargo bench -p metahub-policy --bench plan`

use std::{fmt::Write, hint::black_box, time::Instant};

use metahub_policy::{CpuTable, PlanRules, plan, read_inventory};

const NODES: usize = 10_000;
const ROUNDS: usize = 9;
/// Images in a node's status, which make most of a node's text.
const IMAGES: usize = 50;

const KINDS: [(&str, &str); 4] = [
    (
        "Intel",
        "ADX AESNI AVX AVX2 FMA3 LAHF MOVBE XSAVE XSAVEC XSAVEOPT CMPXCHG8 FXSR",
    ),
    (
        "Intel",
        "ADX AESNI AVX AVX2 AVX512BW AVX512CD AVX512DQ AVX512F AVX512VL AVX512VNNI FMA3 LAHF \
         MOVBE XSAVE XSAVEC XSAVEOPT CMPXCHG8 FXSR",
    ),
    (
        "AMD",
        "ADX AESNI AVX AVX2 CLZERO FMA3 LAHF MOVBE SHA SSE4A WBNOINVD XSAVE XSAVEC XSAVEOPT \
         CMPXCHG8 FXSR",
    ),
    (
        "AMD",
        "ADX AESNI AVX AVX2 CLZERO FMA3 LAHF MOVBE SHA SSE4A VAES VPCLMULQDQ WBNOINVD XSAVE \
         XSAVEC XSAVEOPT CMPXCHG8 FXSR",
    ),
];

#[expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]
fn main() {
    let text = nodes();
    let cpus = CpuTable::builtin();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let inventory = read_inventory(text.as_bytes(), &cpus).expect("a list of nodes");
            let planned = plan(&inventory.hosts, &PlanRules::default(), &cpus);
            black_box(planned);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{NODES} nodes, {} MB: median {:?}, max {:?}",
        text.len() / 1_000_000,
        times[ROUNDS / 2],
        times[ROUNDS - 1]
    );
}

/// The output of `kubectl get nodes -o json` for a fleet of eight types.
fn nodes() -> String {
    let mut text = String::from(r#"{"apiVersion":"v1","kind":"List","items":["#);
    for n in 0..NODES {
        if n > 0 {
            text.push(',');
        }
        node(n, &mut text).expect("memory takes all");
    }
    text + "]}"
}

fn node(n: usize, text: &mut String) -> std::fmt::Result {
    let (vendor, flags) = KINDS[n % KINDS.len()];
    write!(
        text,
        r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"node{n}","labels":{{"#
    )?;
    for flag in flags.split_whitespace() {
        write!(
            text,
            r#""feature.node.kubernetes.io/cpu-cpuid.{flag}":"true","#
        )?;
    }
    let capability = [8, 9][n / KINDS.len() % 2];
    let driver = [535, 550, 570][n % 3];
    write!(
        text,
        r#""feature.node.kubernetes.io/cpu-model.vendor_id":"{vendor}","kubernetes.io/arch":"amd64","kubernetes.io/os":"linux","feature.node.kubernetes.io/kernel-version.full":"6.8.0-48-generic","nvidia.com/gpu.compute.major":"{capability}","nvidia.com/gpu.compute.minor":"0","nvidia.com/cuda.driver-version.full":"{driver}.104.05","nvidia.com/cuda.runtime-version.full":"12.4"}}}},"status":{{"images":["#
    )?;
    for image in 0..IMAGES {
        let comma = ["", ","][usize::from(image > 0)];
        write!(
            text,
            r#"{comma}{{"names":["registry.example/team/app{image}@sha256:{image:064x}","registry.example/team/app{image}:v1.2.{n}"],"sizeBytes":{n}}}"#
        )?;
    }
    write!(
        text,
        r#"],"nodeInfo":{{"architecture":"amd64","kernelVersion":"6.8.0-48-generic","operatingSystem":"linux"}}}}}}"#
    )
}
