//! The `nvcap:`, `nvdrv:` and `cuda:` features: NVIDIA GPUs and their driver.
//!
//! The source is NVML if the program can load it, or else the kernel's files
//! and a table of PCI ids. A GPU with MIG instances keeps its capability.

use std::{collections::BTreeSet, sync::LazyLock};

use serde::Deserialize;

use super::{findings::Findings, root::Root, system::leading_version};

mod nvml;

const GPUS: &str = "proc/driver/nvidia/gpus";
const PCI: &str = "sys/bus/pci/devices";
/// The files with the loaded module's version: the first holds the version
/// alone, the second holds it within a sentence.
const MODULE: &str = "sys/module/nvidia/version";
const DRIVER: &str = "proc/driver/nvidia/version";
const VENDOR: &str = "0x10de";
/// The PCI classes of displays and of GPUs without one.
const CLASSES: [&str; 2] = ["0x0300", "0x0302"];

/// The table of NVIDIA's devices and drivers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    gpu: Vec<Chips>,
    cuda: Vec<Branch>,
}

/// Chips by a block of PCI device ids.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chips {
    first: u16,
    last: u16,
    chip: String,
    capability: String,
}

/// A branch of the driver.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Branch {
    driver: u32,
    version: String,
}

/// Adds the GPUs and the driver below `root`.
pub(super) fn detect(root: &Root, findings: &mut Findings) {
    // NVML reads the running machine only, not another root.
    if root.is_own() {
        match nvml::read() {
            Ok(Some(read)) => return read.add(findings),
            Ok(None) => {}
            Err(error) if root.has(MODULE) => findings.warn(format!(
                "NVML cannot be asked ({error}): went by the kernel's files"
            )),
            Err(_) => {}
        }
    }
    let gpus = gpus(root, findings);
    for gpu in &gpus {
        add_gpu(root, gpu, findings);
    }
    match driver(root, findings) {
        Some((version, source)) => add_driver(&version, source, findings),
        None if gpus.is_empty() => {}
        None => findings.warn(
            "there are NVIDIA GPUs, but no driver of NVIDIA's is loaded: no nvdrv and no cuda"
                .to_owned(),
        ),
    }
}

/// The PCI addresses of the GPUs, from the driver or else from the bus.
fn gpus(root: &Root, findings: &mut Findings) -> BTreeSet<String> {
    let mut gpus = BTreeSet::new();
    for address in root.names(GPUS) {
        let information = root.text(&format!("{GPUS}/{address}/information"));
        let excluded = information
            .as_deref()
            .and_then(|it| field(it, "GPU Excluded"));
        match excluded {
            Some("Yes") => findings.warn(format!("the driver leaves out the GPU {address}")),
            _ => _ = gpus.insert(address),
        }
    }
    if root.has(GPUS) {
        return gpus;
    }
    for address in root.names(PCI) {
        let text = |name: &str| {
            root.text(&format!("{PCI}/{address}/{name}"))
                .unwrap_or_default()
        };
        let is_gpu = CLASSES.iter().any(|class| text("class").starts_with(class));
        if text("vendor") == VENDOR && is_gpu {
            gpus.insert(address);
        }
    }
    gpus
}

fn add_gpu(root: &Root, address: &str, findings: &mut Findings) {
    let path = format!("{PCI}/{address}/device");
    let text = root.text(&path).unwrap_or_default();
    let id = text
        .strip_prefix("0x")
        .and_then(|id| u16::from_str_radix(id, 16).ok());
    let model = root.text(&format!("{GPUS}/{address}/information"));
    let model = model
        .as_deref()
        .and_then(|it| field(it, "Model"))
        .unwrap_or_default();
    let Some(id) = id else {
        findings.warn(format!(
            "cannot read /{path}: no nvcap of that GPU ({model})"
        ));
        return;
    };
    let gpus = &facts().gpu;
    match gpus.iter().find(|chips| (chips.first..=chips.last).contains(&id)) {
        Some(Chips { chip, capability, .. }) => {
            let raw = format!("{VENDOR}:{text} {model} ({chip})");
            findings.add(format!("nvcap:{capability}"), &format!("/{path}"), &raw);
        }
        None => findings.warn(format!(
            "the NVIDIA GPU {address} ({VENDOR}:{text} {model}) is in no table here: add its nvcap by hand, or let NVML tell"
        )),
    }
}

/// The version of the loaded driver and the file that states it. Of two
/// different versions, the lower.
fn driver(root: &Root, findings: &mut Findings) -> Option<(String, &'static str)> {
    let module = root.text(MODULE).filter(|version| is_version(version));
    let module = module.map(|version| (version, MODULE));
    let banner = root.text(DRIVER).unwrap_or_default();
    let mut words = banner.lines().next().unwrap_or_default().split_whitespace();
    let stated = words.find(|word| is_version(word));
    let stated = stated.map(|version| (version.to_owned(), DRIVER));
    match (module, stated) {
        (Some(module), Some(stated)) if module.0 != stated.0 => {
            findings.warn(format!(
                "/{MODULE} says {}, /{DRIVER} says {}: taken for the lower",
                module.0, stated.0
            ));
            Some(if numbers(&module.0) < numbers(&stated.0) {
                module
            } else {
                stated
            })
        }
        (module, stated) => module.or(stated),
    }
}

fn add_driver(version: &str, source: &str, findings: &mut Findings) {
    findings.add(format!("nvdrv:{version}"), &format!("/{source}"), version);
    let branch = numbers(version).first().copied().unwrap_or(0);
    let known = facts()
        .cuda
        .iter()
        .rev()
        .find(|known| u64::from(known.driver) <= branch);
    match known {
        Some(known) => findings.add(
            format!("cuda:{}", known.version),
            "the driver's branch",
            &format!(
                "drivers from {} on have at least this version",
                known.driver
            ),
        ),
        None => findings.warn(format!(
            "the NVIDIA driver {version} is too old to tell its CUDA"
        )),
    }
}

/// Whether `text` is a version of the driver, for example `535.104.05`.
fn is_version(text: &str) -> bool {
    text.contains('.') && leading_version(text) == text && text.starts_with(|c: char| c != '.')
}

fn numbers(version: &str) -> Vec<u64> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

/// The value of `key` in lines of `key: value`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
    Some(value.trim())
}

fn facts() -> &'static Facts {
    static FACTS: LazyLock<Facts> = LazyLock::new(|| {
        toml::from_str(include_str!("../../data/nvidia.toml"))
            .expect("the built-in file is checked by this crate's tests")
    });
    &FACTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_devices_is_in_order_and_without_overlaps() {
        let facts = facts();

        assert!(facts.gpu.iter().all(|chips| chips.first <= chips.last));
        assert!(
            facts
                .gpu
                .windows(2)
                .all(|pair| pair[0].last < pair[1].first)
        );
        assert!(
            facts
                .cuda
                .windows(2)
                .all(|pair| pair[0].driver < pair[1].driver)
        );
    }

    #[test]
    fn versions_of_drivers_are_told_from_other_words() {
        assert!(is_version("535.104.05") && is_version("565.57.01"));
        for word in [
            "x86_64",
            "Module",
            "2024",
            "(dvs-builder@U16-A24-9-2)",
            "..",
            "",
        ] {
            assert!(!is_version(word), "{word}");
        }
    }
}
