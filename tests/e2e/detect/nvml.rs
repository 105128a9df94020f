//! NVIDIA's management library, as a stub that the test compiles: no test
//! machine has a GPU. A dynamically linked program loads it.

use std::{path::Path, process::Command};

use metahub_host::detect::DetectedHost;
use metahub_tests::program::{self, ours};
use tempfile::TempDir;

use super::run;

#[test]
fn gpus_and_driver_are_what_nvml_says() {
    let dir = TempDir::new().expect("a temporary directory");
    let library = dir.path().join("libnvidia-ml.so.1");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/detect/nvml.c");
    let mut cc = Command::new(program::cc());
    run(cc
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source));

    let mut metahubctl = Command::new(ours("dynamic/metahubctl"));
    metahubctl.env("LD_LIBRARY_PATH", dir.path());
    let said = run(metahubctl.args(["host", "detect", "--output=json"]));

    let found: DetectedHost = serde_json::from_str(&said).expect("JSON");
    for feature in ["nvcap:8.6", "nvcap:9.0", "nvdrv:570.86.15", "cuda:12.8"] {
        let evidence = found.evidence.get(feature).expect(feature);
        assert_eq!(evidence.source, "nvml", "{feature}");
    }
    assert!(found.evidence["nvcap:9.0"].raw.ends_with("(MIG)"));
}

/// The test machine has neither a GPU nor the library.
#[test]
fn a_program_without_nvml_tells_of_no_gpu_and_warns_of_nothing() {
    let mut metahubctl = Command::new(ours("dynamic/metahubctl"));
    let said = run(metahubctl.args(["host", "detect", "--output=json"]));

    let found: DetectedHost = serde_json::from_str(&said).expect("JSON");
    let is_nvidia = |feature: &String| feature.starts_with("nv") || feature.starts_with("cuda");
    assert!(
        !found.features.iter().any(is_nvidia),
        "{:?}",
        found.features
    );
    let warned = found
        .warnings
        .iter()
        .any(|it| it.contains("NVML") || it.contains("NVIDIA"));
    assert!(!warned, "{:?}", found.warnings);
}
