//! Machines as trees of files. The formats come from real hosts, as posted in
//! issues of NVIDIA's, AMD's and cloud providers' projects.

use std::{fs, os::unix::fs::symlink, path::Path};

use metahub_policy::{CpuTable, Host, MachineType};
use tempfile::TempDir;

use super::*;

const CPUINFO: &str = "\
processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu cmov cx8 fxsr lm mmx sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm aes pclmulqdq

processor\t: 1
vendor_id\t: GenuineIntel
flags\t\t: fpu cmov cx8 fxsr lm mmx sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm

";

/// A machine with the minimal files for a detection without warnings.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
            .file("proc/cpuinfo", &CPUINFO.replace(" aes pclmulqdq", ""))
            .file("proc/sys/kernel/osrelease", "5.14.0-362.8.1.el9_3.x86_64\n")
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// Adds a device to the PCI bus.
    fn pci(self, address: &str, class: &str, vendor: &str, device: &str) -> Self {
        let path = format!("sys/bus/pci/devices/{address}");
        self.file(&format!("{path}/class"), &format!("{class}\n"))
            .file(&format!("{path}/vendor"), &format!("{vendor}\n"))
            .file(&format!("{path}/device"), &format!("{device}\n"))
    }

    fn detect(&self) -> DetectedHost {
        detect(self.0.path(), &CpuTable::builtin()).unwrap()
    }

    /// The features other than the CPU's and the kernel's.
    fn features(&self) -> Vec<String> {
        let mut features = self.detect().features;
        features.retain(|it| !it.starts_with("cpu:") && !it.starts_with("kernel:"));
        features
    }
}

#[test]
fn a_flag_that_one_processor_lacks_is_none_of_the_machine() {
    let tree = Tree::new().file("proc/cpuinfo", CPUINFO);

    let host = tree.detect();

    assert!(
        host.features.contains(&"cpu:nehalem".to_owned()),
        "{host:?}"
    );
    assert!(
        host.warnings.concat().contains("aes, pclmulqdq"),
        "{host:?}"
    );
    assert_eq!(host.level.unwrap().name, "x86_64_v2");
}

#[test]
fn a_machine_without_a_list_of_processors_is_an_error_that_says_what_to_do() {
    for tree in [
        Tree::new().file("proc/cpuinfo", "\n\n"),
        Tree(TempDir::new().unwrap()),
    ] {
        let error = detect(tree.0.path(), &CpuTable::builtin()).unwrap_err();

        assert!(
            error.to_string().contains("mount the host's /proc"),
            "{error}"
        );
    }
}

#[test]
fn the_kernel_and_glibc_are_numbers_alone() {
    let banner = "\0GNU C Library (GNU libc) stable release version 2.34.\nCopyright\0";
    let tree = Tree::new()
        .file("lib64/libc-2.34.so", banner)
        .link("lib64/libc.so.6", "libc-2.34.so");

    let host = tree.detect();

    assert_eq!(
        host.features,
        ["cpu:nehalem", "glibc:2.34", "kernel:5.14.0"]
    );
    assert_eq!(
        host.evidence["kernel:5.14.0"].raw,
        "5.14.0-362.8.1.el9_3.x86_64"
    );
    assert_eq!(host.warnings, [""; 0]);
}

#[test]
fn a_library_outside_of_the_root_is_not_the_hosts() {
    let other = Tree::new().file("libc.so.6", "stable release version 2.99.\n");
    let outside = other.0.path().join("libc.so.6");
    let tree = Tree::new().link("lib64/libc.so.6", outside.to_str().unwrap());

    assert_eq!(tree.features(), [""; 0]);
}

/// `information` as the driver writes it, tabs included.
fn information(model: &str, excluded: &str) -> String {
    format!(
        "Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-82523fd8-3897-f599-d088-ccd04ae45ec1\n\
         Video BIOS: \t 94.04.42.00.01\nBus Type: \t PCIe\nDMA Size: \t 47 bits\n\
         Bus Location: \t 0000:00:1e.0\nDevice Minor: \t 0\nGPU Excluded:\t {excluded}\n"
    )
}

const OPEN_MODULE: &str = "\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (dvs-builder@U16-A24-9-2)  Thu Oct 10 12:15:00 UTC 2024
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
";

#[test]
fn nvidia_gpus_are_known_by_the_drivers_files_and_pci_ids() {
    let gpus = "proc/driver/nvidia/gpus";
    let tree = Tree::new()
        .file("proc/driver/nvidia/version", OPEN_MODULE)
        .file("sys/module/nvidia/version", "565.57.01\n")
        .file(
            &format!("{gpus}/0000:00:1e.0/information"),
            &information("NVIDIA A10G", "No"),
        )
        .file(
            &format!("{gpus}/0000:62:00.0/information"),
            &information("NVIDIA H100 80GB HBM3", "No"),
        )
        .file(
            &format!("{gpus}/0000:63:00.0/information"),
            &information("Tesla T4", "Yes"),
        )
        .pci("0000:00:1e.0", "0x030200", "0x10de", "0x2237")
        .pci("0000:62:00.0", "0x030200", "0x10de", "0x2330")
        .pci("0000:63:00.0", "0x030200", "0x10de", "0x1eb8");

    let host = tree.detect();

    assert_eq!(
        tree.features(),
        ["cuda:12.7", "nvcap:8.6", "nvcap:9.0", "nvdrv:565.57.01"]
    );
    assert!(host.evidence["nvcap:9.0"].raw.contains("H100"), "{host:?}");
    assert!(host.warnings.concat().contains("0000:63:00.0"), "{host:?}");
}

#[test]
fn a_gpu_that_is_cut_into_mig_instances_keeps_its_capability() {
    let mig = "proc/driver/nvidia/capabilities/gpu0/mig/gi1/access";
    let tree = Tree::new()
        .file("sys/module/nvidia/version", "535.104.05\n")
        .file(
            "proc/driver/nvidia/gpus/0000:07:00.0/information",
            &information("NVIDIA A100-SXM4-40GB", "No"),
        )
        .file(
            mig,
            "DeviceFileMinor: 12\nDeviceFileMode: 292\nDeviceFileModify: 1\n",
        )
        .pci("0000:07:00.0", "0x030200", "0x10de", "0x20b0");

    assert_eq!(
        tree.features(),
        ["cuda:12.2", "nvcap:8.0", "nvdrv:535.104.05"]
    );
}

#[test]
fn of_two_versions_of_the_driver_the_lower_counts() {
    let tree = Tree::new()
        .file("proc/driver/nvidia/version", OPEN_MODULE)
        .file("sys/module/nvidia/version", "550.54.14\n");

    assert_eq!(tree.features(), ["cuda:12.4", "nvdrv:550.54.14"]);
    assert!(tree.detect().warnings.concat().contains("565.57.01"));
}

#[test]
fn a_gpu_without_driver_or_outside_of_the_table_is_a_warning() {
    let bare = Tree::new().pci("0000:01:00.0", "0x030000", "0x10de", "0x2684");
    let unknown = Tree::new().pci("0000:01:00.0", "0x030200", "0x10de", "0xfff0");

    assert_eq!(bare.features(), ["nvcap:8.9"]);
    assert!(bare.detect().warnings.concat().contains("no driver"));
    assert_eq!(unknown.features(), [""; 0]);
    assert!(
        unknown
            .detect()
            .warnings
            .concat()
            .contains("add its nvcap by hand")
    );
}

/// A KFD node as the kernel writes it, shortened.
fn node(version: u32, capability: u32) -> String {
    format!(
        "cpu_cores_count 0\nsimd_count 440\nmem_banks_count 1\ncapability {capability}\nvendor_id 4098\n\
         device_id 29708\ngfx_target_version {version}\nlocal_mem_size 68702699520\n"
    )
}

#[test]
fn amd_gpus_are_known_by_kfd_and_processors_are_not_among_them() {
    let nodes = "sys/class/kfd/kfd/topology/nodes";
    let tree = Tree::new()
        .file(
            &format!("{nodes}/0/properties"),
            "cpu_cores_count 64\nvendor_id 0\ngfx_target_version 0\n",
        )
        .file(&format!("{nodes}/0/gpu_id"), "0\n")
        .file(&format!("{nodes}/1/properties"), &node(90010, 746_140_288))
        .file(
            &format!("{nodes}/2/properties"),
            &node(100_300, 671_588_992),
        )
        .file(
            &format!("{nodes}/3/properties"),
            "vendor_id 4318\ngfx_target_version 110000\n",
        );

    assert_eq!(tree.features(), ["gfx:gfx1030", "gfx:gfx90a:sramecc+"]);
    assert_eq!(tree.detect().warnings, [""; 0]);
}

#[test]
fn a_gpu_that_a_container_may_not_see_is_a_warning() {
    let nodes = "sys/class/kfd/kfd/topology/nodes";
    let tree = Tree::new().file(&format!("{nodes}/1/gpu_id"), "51200\n");

    assert_eq!(tree.features(), [""; 0]);
    assert!(
        tree.detect()
            .warnings
            .concat()
            .contains("nodes/1/properties")
    );
}

#[test]
fn rocm_of_the_host_is_told_where_all_is_asked_for() {
    let tree = Tree::new().file("opt/rocm/.info/version", "6.1.2-129\n");
    let full = Options {
        full: true,
        ..Options::default()
    };

    let host = detect_with(tree.0.path(), &CpuTable::builtin(), full).unwrap();

    assert!(host.features.contains(&"rocm:6.1.2".to_owned()), "{host:?}");
    assert!(
        host.features.contains(&"sse3".to_owned()) && !host.features.contains(&"pni".to_owned())
    );
    assert_eq!(tree.features(), [""; 0]);
}

#[test]
fn adapters_of_a_fabric_are_known_by_driver_or_pci_ids() {
    let class = "sys/class/infiniband";
    let tree = Tree::new()
        .file(&format!("{class}/mlx5_0/device/vendor"), "0x15b3\n")
        .file(&format!("{class}/mlx5_0/device/device"), "0x101d\n")
        .link(
            &format!("{class}/mlx5_0/device/driver"),
            "../../../../bus/pci/drivers/mlx5_core",
        )
        .file(&format!("{class}/rdmap0s6/device/vendor"), "0x1d0f\n")
        .file(&format!("{class}/rdmap0s6/device/device"), "0xefa2\n")
        .file(&format!("{class}/rxe0/node_guid"), "505a:54ff:fe00:0000\n")
        .file("sys/class/cxi/cxi0/device/vendor", "0x17db\n");

    assert_eq!(tree.features(), ["net:cxi", "net:efa", "net:mlx5"]);
}

#[test]
fn intels_gpus_are_known_by_vendor_and_driver() {
    let card = "sys/class/drm/card0/device";
    let intel = Tree::new()
        .file(&format!("{card}/vendor"), "0x8086\n")
        .link(&format!("{card}/driver"), "../../../../bus/pci/drivers/xe");
    let other = Tree::new().file(&format!("{card}/vendor"), "0x1a03\n");

    assert_eq!(intel.features(), ["gpu:intel"]);
    assert_eq!(other.features(), [""; 0]);
}

#[test]
fn files_that_hold_anything_break_nothing() {
    let junk = "\u{1b}[2J: \0 \u{fffd}".repeat(40_000);
    let paths = [
        "proc/sys/kernel/osrelease",
        "proc/driver/nvidia/version",
        "sys/module/nvidia/version",
        "proc/driver/nvidia/gpus/\u{1b}[31m/information",
        "sys/class/kfd/kfd/topology/nodes/x/properties",
        "sys/class/infiniband/x/device/vendor",
        "lib64/libc.so.6",
    ];
    let files =
        |tree: Tree, text: &str| paths.iter().fold(tree, |tree, path| tree.file(path, text));

    let long = files(Tree::new(), &junk).detect();
    let short = files(Tree::new(), &junk[..60]).detect();

    for host in [long, short] {
        let shown = format!("{:?}{:?}", host.features, host.warnings);
        assert!(host.features.contains(&"cpu:nehalem".to_owned()));
        assert!(!host.warnings.concat().contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn every_feature_is_one_that_a_machine_type_can_have() {
    let cpus = CpuTable::builtin();
    let features = detect(Path::new("/"), &cpus).unwrap().features;
    let machine_type = MachineType {
        features,
        ..MachineType::default()
    };

    let warnings = machine_type.check(&cpus).unwrap();

    assert_eq!(warnings, [""; 0]);
    assert!(Host::new(machine_type, cpus).is_ok());
}
