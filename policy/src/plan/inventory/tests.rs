//! Tests with labels and slices of real clusters; each constant names the
//! source.

use serde_json::{Value, json};

use super::*;

/// Labels of node feature discovery for CPU flags.
fn cpuid(flags: &str) -> Vec<(String, String)> {
    let flags = flags.split_whitespace();
    flags
        .map(|flag| {
            let label = format!("feature.node.kubernetes.io/cpu-cpuid.{flag}");
            (label, "true".into())
        })
        .collect()
}

fn node(name: &str, flags: &str, labels: &[(&str, &str)]) -> Value {
    let mut all: BTreeMap<_, _> = cpuid(flags).into_iter().collect();
    all.insert("kubernetes.io/arch".into(), "amd64".into());
    all.insert("kubernetes.io/os".into(), "linux".into());
    let labels = labels.iter();
    all.extend(labels.map(|(name, value)| (name.to_string(), value.to_string())));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": all},
        "status": {"nodeInfo": {"kernelVersion": "5.10.198-187.748.amzn2.x86_64"}},
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items, "metadata": {}}).to_string()
}

fn read(text: &str) -> Inventory {
    read_inventory(text.as_bytes(), &CpuTable::builtin()).unwrap()
}

fn refusal(text: &[u8]) -> String {
    let refused = read_inventory(text, &CpuTable::builtin()).unwrap_err();
    refused.to_string()
}

fn features(node: Value) -> Vec<String> {
    read(&list(&[node])).hosts[0].features.clone()
}

/// <https://github.com/opencost/opencost/pull/2862>: Cascade Lake in a virtual
/// machine, with a T4.
const CASCADE_LAKE: &str = "ADX AESNI AVX AVX2 AVX512BW AVX512CD AVX512DQ AVX512F AVX512VL \
    AVX512VNNI CMPXCHG8 FMA3 FXSR FXSROPT HYPERVISOR LAHF MOVBE MPX OSXSAVE SYSCALL SYSEE X87 \
    XGETBV1 XSAVE XSAVEC XSAVEOPT XSAVES";

/// <https://github.com/NVIDIA/gpu-feature-discovery/issues/76>: an EPYC of the
/// second generation; an old release with few labels and no vendor.
const OLD_EPYC: &str = "ADX AESNI AVX AVX2 FMA3 SHA SSE4A";

/// <https://github.com/NVIDIA/dcgm-exporter/issues/544>: Sapphire Rapids.
const SAPPHIRE_RAPIDS: &str = "ADX AESNI AMXBF16 AMXINT8 AMXTILE AVX AVX2 AVX512BF16 AVX512BITALG \
    AVX512BW AVX512CD AVX512DQ AVX512F AVX512FP16 AVX512IFMA AVX512VBMI AVX512VBMI2 AVX512VL \
    AVX512VNNI AVX512VPOPCNTDQ AVXVNNI CLDEMOTE CMPXCHG8 FMA3 FXSR FXSROPT GFNI HYPERVISOR LAHF \
    MOVBE MOVDIR64B MOVDIRI OSXSAVE SERIALIZE SHA SYSCALL SYSEE VAES VPCLMULQDQ WAITPKG WBNOINVD \
    X87 XGETBV1 XSAVE XSAVEC XSAVEOPT XSAVES";

const INTEL: (&str, &str) = ("feature.node.kubernetes.io/cpu-model.vendor_id", "Intel");
const AMD: (&str, &str) = ("feature.node.kubernetes.io/cpu-model.vendor_id", "AMD");

#[test]
fn labels_of_cpu_flags_name_the_cpu() {
    let cpu = |flags: &str, vendor| features(node("a", flags, &[vendor]))[0].clone();

    assert_eq!(cpu(CASCADE_LAKE, INTEL), "cpu:cascadelake");
    assert_eq!(cpu(SAPPHIRE_RAPIDS, INTEL), "cpu:sapphirerapids");
    let zen = format!("{OLD_EPYC} CLZERO CMPXCHG8 FXSR LAHF MOVBE XSAVE XSAVEC XSAVEOPT");
    assert_eq!(cpu(&zen, AMD), "cpu:zen");
    assert_eq!(cpu(&format!("{zen} WBNOINVD"), AMD), "cpu:zen2");
    let zen3 = format!("{zen} WBNOINVD VAES VPCLMULQDQ");
    assert_eq!(cpu(&zen3, AMD), "cpu:zen3");
}

#[test]
fn labels_that_cannot_tell_a_cpu_from_an_older_one_name_the_older_one() {
    let cpu = |flags: &str, labels: &[(&str, &str)]| features(node("a", flags, labels))[0].clone();

    assert_eq!(cpu(OLD_EPYC, &[]), "cpu:zen");
    // Without a known vendor, the answer is the level.
    assert_eq!(cpu("AVX AVX2 FMA3 AVX512F AVX512BW", &[]), "cpu:x86_64_v3");
    assert_eq!(cpu("AVX HYPERVISOR", &[INTEL]), "cpu:x86_64");
    // A hypervisor hides one flag.
    let masked = CASCADE_LAKE.replace("AVX512VNNI", "");
    assert_eq!(cpu(&masked, &[INTEL]), "cpu:skylake_avx512");
    // Without its baseline, the newest flags do not count.
    assert_eq!(cpu("AVX512F AVX512VNNI", &[INTEL]), "cpu:x86_64");
}

#[test]
fn flags_of_no_design_name_the_baseline() {
    let odd = node("odd", "FXSR AVX512F", &[INTEL]);

    assert_eq!(features(odd), ["cpu:x86_64", "kernel:5.10.198"]);
}

#[test]
fn a_node_without_labels_of_its_cpu_is_warned_of() {
    let inventory = read(&list(&[node("bare", "", &[])]));

    assert_eq!(inventory.hosts[0].features, ["kernel:5.10.198"]);
    let warning = &inventory.warnings[0];
    assert!(
        warning.starts_with("bare: no CPU is known"),
        "{:?}",
        inventory.warnings
    );
}

#[test]
fn arm_labels_are_the_kernels_flags() {
    let arm = [("kubernetes.io/arch", "arm64")];
    let node = node("a", "ASIMD ASIMDRDM ATOMICS CRC32 FP AES", &arm);

    assert_eq!(features(node)[0], "cpu:aarch64");
}

#[test]
fn labels_of_gpu_feature_discovery_are_features() {
    let old = [
        ("nvidia.com/gpu.compute.major", "7"),
        ("nvidia.com/gpu.compute.minor", "5"),
        ("nvidia.com/cuda.driver.major", "535"),
        ("nvidia.com/cuda.driver.minor", "104"),
        ("nvidia.com/cuda.driver.rev", "05"),
        ("nvidia.com/cuda.runtime.major", "12"),
        ("nvidia.com/cuda.runtime.minor", "2"),
    ];
    let new = [
        ("nvidia.com/cuda.driver-version.full", "550.107.02"),
        ("nvidia.com/cuda.runtime-version.full", "12.5"),
    ];

    let told = features(node("a", CASCADE_LAKE, &[&old[..], &[INTEL]].concat()));
    let full = features(node(
        "a",
        CASCADE_LAKE,
        &[&old[..], &new, &[INTEL]].concat(),
    ));

    let expected = [
        "cpu:cascadelake",
        "nvcap:7.5",
        "nvdrv:535.104.05",
        "cuda:12.2",
        "kernel:5.10.198",
    ];
    assert_eq!(told, expected);
    assert_eq!(full[2..4], ["nvdrv:550.107.02", "cuda:12.5"]);
}

/// <https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/issues/744>, and
/// the same device in `resource.k8s.io/v1`.
fn slice(node: &str, is_beta: bool) -> Value {
    let attributes = json!({
        "architecture": {"string": "Hopper"},
        "brand": {"string": "Nvidia"},
        "cudaComputeCapability": {"version": "9.0.0"},
        "cudaDriverVersion": {"version": "13.0.0"},
        "driverVersion": {"version": "580.105.8"},
        "index": {"int": 3},
        "productName": {"string": "NVIDIA H100 80GB HBM3"},
        "resource.kubernetes.io/pcieRoot": {"string": "pci0000:55"},
    });
    let device = match is_beta {
        true => json!({"name": "gpu-0", "basic": {"attributes": attributes}}),
        false => json!({"name": "gpu-0", "attributes": attributes}),
    };
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-gpu.nvidia.com-7cbz2")},
        "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "devices": [device.clone(), device]},
    })
}

#[test]
fn slices_add_the_gpus_to_their_node() {
    let expected = ["cuda:13.0", "nvcap:9.0", "nvdrv:580.105.8"];

    let inventory = read(&list(&[
        node("a", CASCADE_LAKE, &[INTEL]),
        slice("a", false),
        slice("b", true),
    ]));

    assert_eq!(inventory.hosts.len(), 2);
    assert_eq!(inventory.hosts[0].features[2..], expected);
    assert_eq!(inventory.hosts[1].features, expected);
}

#[test]
fn slices_of_other_drivers_and_of_no_node_add_nothing() {
    let mut other = slice("a", false);
    other["spec"]["driver"] = "compute-domain.nvidia.com".into();
    let mut several = slice("a", false);
    several["spec"]["nodeName"] = Value::Null;

    let inventory = read(&list(&[node("a", "AVX", &[]), other, several]));

    assert_eq!(
        inventory.hosts[0].features,
        ["cpu:x86_64", "kernel:5.10.198"]
    );
    assert!(inventory.warnings[0].contains("1 ResourceSlices are of no node"));
}

#[test]
fn detected_hosts_are_read_one_after_the_other() {
    let host = json!({"schema": 1, "features": ["cpu:zen4"], "evidence": {}, "warnings": []});
    let mut named = host.clone();
    named["host"] = "node17".into();

    let inventory = read(&format!("{host}\n{named:#}\n"));

    let names: Vec<_> = inventory.hosts.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["host 1", "node17"]);
    assert_eq!(inventory.hosts[1].features, ["cpu:zen4"]);
}

#[test]
fn what_a_node_lacks_is_told_with_its_name_and_many_in_one_line() {
    let nodes: Vec<_> = (0..7)
        .map(|n| {
            node(
                &format!("gpu{n}"),
                "",
                &[("nvidia.com/gpu.product", "Tesla-T4")],
            )
        })
        .collect();

    let warnings = read(&list(&nodes)).warnings;

    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for part in ["gpu0, gpu1", "and 2 more: ", "node feature discovery"] {
        assert!(warnings.iter().any(|it| it.contains(part)), "{warnings:?}");
    }
}

#[test]
fn an_entry_that_cannot_be_read_does_not_hide_the_others() {
    let mut broken = node("bad\u{1b}[31m", "AVX", &[]);
    broken["metadata"]["labels"] = json!(["a"]);
    let pod = json!({"kind": "Pod", "metadata": {"name": "p"}});

    let inventory = read(&list(&[broken, pod, json!(7), node("good", "AVX", &[])]));

    assert_eq!(inventory.hosts.len(), 1);
    let told = inventory.warnings.join("\n");
    for part in [
        "Node bad[31m cannot be read",
        "1 × Pod",
        "1 × an object without a kind",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn what_is_no_list_of_hosts_is_refused_with_what_to_give() {
    let pods = list(&[json!({"kind": "Pod"}), json!({"kind": "Pod"})]);

    assert!(refusal(b"NAME STATUS ROLES\n").contains("kubectl get nodes -o json"));
    assert!(refusal(b"apiVersion: v1\n").contains("-o json"));
    assert!(refusal(&[0xff, 0xfe]).contains("-o json"));
    assert!(refusal(pods.as_bytes()).contains("2 × Pod"));
    for nothing in ["", "[]", "{}", "7", r#"{"kind": "List", "items": []}"#] {
        assert!(refusal(nothing.as_bytes()).contains("no host"), "{nothing}");
    }
    let deep = "[".repeat(100_000);
    assert!(refusal(deep.as_bytes()).contains("-o json"));
    let broken = r#"{"kind": "Node", "metadata": {"name": 7}}"#;
    assert!(refusal(broken.as_bytes()).contains("cannot be read"));
}
