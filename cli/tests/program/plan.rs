//! `type plan` as a program: from a cluster's nodes to types that can be applied.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    process::{printed, run, told},
    site::Site,
};

/// A node with the labels that `kubectl get nodes -o json` shows.
fn node(name: &str, flags: &[&str], driver: &str) -> Value {
    let mut labels = json!({
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "feature.node.kubernetes.io/cpu-model.vendor_id": "Intel",
        "feature.node.kubernetes.io/kernel-version.full": "6.8.0-48-generic",
        "nvidia.com/gpu.compute.major": "9",
        "nvidia.com/gpu.compute.minor": "0",
        "nvidia.com/cuda.driver-version.full": driver,
    });
    for flag in flags {
        labels[format!("feature.node.kubernetes.io/cpu-cpuid.{flag}")] = "true".into();
    }
    json!({"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {}})
}

const SKYLAKE: [&str; 17] = [
    "ADX", "AESNI", "AVX", "AVX2", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512F", "AVX512VL",
    "CMPXCHG8", "FMA3", "FXSR", "LAHF", "MOVBE", "XSAVE", "XSAVEC", "XSAVEOPT",
];

/// Four nodes of one kind, of which one has an older driver, in a file.
fn nodes(home: &TempDir) {
    let mut nodes: Vec<_> = (0..3)
        .map(|n| node(&format!("new{n}"), &SKYLAKE, "550.54.15"))
        .collect();
    nodes.push(node("old", &SKYLAKE, "535.104.05"));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    fs::write(home.path().join("nodes.json"), list.to_string()).expect("there is room");
}

#[test]
fn a_plan_names_the_types_and_the_hosts_that_hold_a_version_back() {
    let home = tempfile::tempdir().unwrap();
    nodes(&home);

    let table = run(&home, &["type", "plan", "--from-nodes=nodes.json"]);
    let json = run(
        &home,
        &["type", "plan", "--from-nodes=nodes.json", "-o=json"],
    );

    let text = printed(&table);
    for part in [
        "skylake_avx512-nv9.0",
        "cpu:skylake_avx512",
        "nvdrv 535.104.05 to 550.54.15",
        "1 host holds nvdrv back at 535.104.05, others have up to 550.54.15: old",
    ] {
        assert!(text.contains(part), "no {part} in: {text}");
    }
    assert!(told(&table).contains("1 type for 4 hosts."));
    let plan: Value = serde_json::from_str(&printed(&json)).unwrap();
    assert_eq!(plan["types"][0]["hosts"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_policy_can_be_applied_and_changes_nothing_the_second_time() {
    let site = Site::start().await;
    nodes(&site.home);
    let file = site.home.path().join("nodes.json").display().to_string();
    let plan = [
        "type",
        "plan",
        "--user=qnib",
        "-o=policy",
        "--from-nodes",
        &file,
    ];
    let policy = printed(&site.run(&plan));
    let path = site.home.path().join("policy.yaml");
    fs::write(&path, &policy).unwrap();
    let path = path.display().to_string();

    let dry = printed(&site.run(&["apply", "--dry-run", "-f", &path]));
    printed(&site.run(&["apply", "-f", &path]));
    let again = printed(&site.run(&["apply", "--dry-run", "-f", &path]));

    assert!(
        policy.starts_with("# skylake_avx512-nv9.0: 4 hosts:"),
        "{policy}"
    );
    assert!(dry.contains("skylake_avx512-nv9.0"), "{dry}");
    assert!(!again.contains("skylake_avx512-nv9.0"), "{again}");
    let made = site.json(&["type", "show", "skylake_avx512-nv9.0", "--user=qnib"]);
    let expected = [
        "nvcap:9.0",
        "cpu:skylake_avx512",
        "kernel:6.8.0",
        "nvdrv:535.104.05",
    ];
    assert_eq!(made["features"], json!(expected));
}

#[test]
fn a_plan_of_what_is_no_list_of_hosts_says_what_to_give() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("nodes.txt"), "NAME  STATUS\na  Ready\n").unwrap();
    nodes(&home);

    let text = run(&home, &["type", "plan", "--from-nodes=nodes.txt"]);
    let policy = run(
        &home,
        &["type", "plan", "--from-nodes=nodes.json", "-o=policy"],
    );

    assert_eq!(text.status.code(), Some(1));
    assert!(
        told(&text).contains("kubectl get nodes -o json"),
        "{}",
        told(&text)
    );
    assert!(told(&policy).contains("--user"), "{}", told(&policy));
}
