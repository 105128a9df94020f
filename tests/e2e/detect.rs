//! `metahubctl host detect`: CPUs against archspec, the dynamic linker, and
//! CPUs that qemu emulates; GPUs against a stub of NVIDIA's library.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use metahub_host::detect::{DetectedHost, detect};
use metahub_policy::CpuTable;
use metahub_tests::program::{self, ours};
use tempfile::TempDir;

mod nvml;

/// CPUs that qemu's user mode emulates well enough to start programs: twenty
/// years of Intel's and AMD's, and qemu's own.
const EMULATED: [&str; 24] = [
    "qemu64",
    "kvm64",
    "Conroe",
    "core2duo",
    "Penryn",
    "Nehalem",
    "Westmere",
    "SandyBridge",
    "IvyBridge",
    "Haswell",
    "Broadwell",
    "Skylake-Client",
    "Skylake-Server",
    "Cascadelake-Server",
    "Icelake-Server",
    "Snowridge",
    "Denverton",
    "phenom",
    "Opteron_G3",
    "Opteron_G5",
    "EPYC",
    "EPYC-Rome",
    "EPYC-Milan",
    "max",
];

const LD_SO: &str = "/lib64/ld-linux-x86-64.so.2";

#[test]
fn every_capture_of_archspec_is_the_cpu_that_archspec_says() {
    let seed = std::process::id().to_string();
    let said = archspec(&["captures", &seed]);

    let mut names = BTreeSet::new();
    for line in said.lines() {
        let (name, cpuinfo, expected): (String, String, String) =
            serde_json::from_str(line).expect("a line of JSON");
        let root = TempDir::new().expect("a temporary directory");
        fs::create_dir(root.path().join("proc")).expect("a directory");
        fs::write(root.path().join("proc/cpuinfo"), &cpuinfo).expect("a file");
        let found = detect(root.path(), &CpuTable::builtin()).expect("a machine");
        assert_eq!(cpu(&found), expected, "{name}, seed {seed}:\n{cpuinfo}");
        names.insert(name);
    }

    assert!(names.len() >= 40, "{names:?}");
}

#[test]
fn this_machine_is_the_cpu_that_archspec_says() {
    let found = detect(Path::new("/"), &CpuTable::builtin()).expect("a machine");

    assert_eq!(cpu(&found), archspec(&["host"]).trim());
}

#[test]
fn this_machine_is_of_the_level_that_the_dynamic_linker_supports() {
    let found = detect(Path::new("/"), &CpuTable::builtin()).expect("a machine");

    let help = run(Command::new(LD_SO).arg("--help"));

    assert_eq!(level(&found), highest_level(&help));
}

/// Both programs run with the same emulated cpuid instruction.
#[test]
fn an_emulated_cpu_is_what_archspec_and_the_dynamic_linker_say() {
    let next = AtomicUsize::new(0);
    let check_all = || {
        while let Some(model) = EMULATED.get(next.fetch_add(1, Ordering::Relaxed)) {
            check_emulated(model);
        }
    };

    thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(check_all)).collect();
        for thread in threads {
            thread.join().expect("every CPU is as expected");
        }
    });
}

fn check_emulated(model: &str) {
    let ours = ours("metahubctl");
    let detect = [ours.as_os_str(), "host".as_ref(), "detect".as_ref()];
    let said = run(emulated(model)
        .args(detect)
        .args(["--cpuid", "--output=json"]));
    let found: DetectedHost = serde_json::from_str(&said).expect("JSON");
    let script = [program::cpus_python(), script()];

    let name = run(emulated(model).args(script).arg("cpuid"));
    let help = run(emulated(model).args([LD_SO, "--help"]));

    assert_eq!(cpu(&found), name.trim(), "{model}");
    assert_eq!(level(&found), highest_level(&help), "{model}");
}

fn emulated(model: &str) -> Command {
    let mut qemu = Command::new(program::qemu_x86_64());
    qemu.args(["-cpu", model]);
    qemu
}

fn archspec(arguments: &[&str]) -> String {
    let mut python = Command::new(program::cpus_python());
    run(python.arg("-B").arg(script()).args(arguments))
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/detect/archspec_says.py")
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {stderr}");
    String::from_utf8(stdout).expect("text")
}

fn cpu(found: &DetectedHost) -> &str {
    let mut cpus = found
        .features
        .iter()
        .filter_map(|it| it.strip_prefix("cpu:"));
    cpus.next().expect("a CPU")
}

/// The level in the dynamic linker's spelling, for example `x86-64-v3`.
fn level(found: &DetectedHost) -> String {
    let level = &found.level.as_ref().expect("an x86-64 machine").name;
    level.replacen("x86_64", "x86-64", 1).replace('_', "-")
}

/// The first supported level in the dynamic linker's help.
fn highest_level(help: &str) -> &str {
    let levels = help
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("x86-64-v"));
    let supported = levels.filter(|line| line.contains("(supported"));
    let names = supported.filter_map(|line| line.split_whitespace().next());
    names.max().unwrap_or("x86-64")
}
