//! Checks machine types: what cannot be used, and what may be a mistake.

use crate::{
    CpuTable, InvalidMachineType, MachineType,
    feature::{self, Feature, Meaning, misspelt},
    gfx, nvcap,
    platform::{self, Level},
    version::Version,
};

/// Most features of a machine type.
const MAX_FEATURES: usize = 256;

/// Most names in `also_runs`.
const MAX_ALSO_RUNS: usize = 64;

/// Longest name of an os, architecture or variant, in bytes.
const MAX_NAME: usize = 32;

/// Operating systems in Go's words that images are published for.
const SYSTEMS: [&str; 8] = [
    "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "wasip1",
];

/// Architectures in Go's words that images are published for.
const ARCHITECTURES: [&str; 15] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "sparc64", "wasm",
];

type Checked = Result<(), InvalidMachineType>;

/// What selection itself needs: bounded lists of features that can be read.
pub(crate) fn readable(kind: &MachineType) -> Checked {
    count("features", kind.features.len(), MAX_FEATURES)?;
    count("also_runs", kind.also_runs.len(), MAX_ALSO_RUNS)?;
    let cpus = kind.also_runs.iter();
    for text in kind.features.iter().chain(cpus) {
        if let Some(reason) = misspelt(text) {
            return Err(invalid_feature(text, reason));
        }
    }
    Ok(())
}

/// The architecture, in Go's words, and variant that a selector `arch:ARCH` or
/// `arch:ARCH/VARIANT` names.
pub(crate) fn selected_platform(
    selector: &str,
) -> Result<(String, Option<String>), InvalidMachineType> {
    let name = selector.split_once(':').map_or(selector, |(_, name)| name);
    let (name, variant) = match name.split_once('/') {
        Some((name, variant)) => (name, Some(variant)),
        None => (name, None),
    };
    let (architecture, implied) = platform::architecture(name);
    if !ARCHITECTURES.contains(&&*architecture) {
        let known = ARCHITECTURES.join(", ");
        return Err(invalid_feature(
            selector,
            &format!("is no architecture that images are published for: {known}"),
        ));
    }
    let variant = variant.or(implied).map(str::to_owned);
    if let Some(variant) = &variant {
        check_variant(Some(&architecture), variant, &mut Vec::new())?;
    }
    Ok((architecture.into_owned(), variant))
}

/// Checks every field. Returns what may be a mistake.
pub(super) fn check(
    kind: &MachineType,
    cpus: &CpuTable,
) -> Result<Vec<String>, InvalidMachineType> {
    readable(kind)?;
    let mut warnings = Vec::new();
    check_platform(kind, &mut warnings)?;
    for text in &kind.features {
        if let Some(feature) = Feature::parse(text) {
            check_value(text, &feature, cpus, &mut warnings)?;
        }
    }
    for name in &kind.also_runs {
        if name.contains(':') {
            let reason = "is a feature; `also_runs` takes CPU names alone, for example `haswell`";
            return Err(invalid_field("also_runs", name, reason));
        }
        warn_of_cpu(name, cpus, &mut warnings);
    }
    warn_of_lists(kind, cpus, &mut warnings);
    Ok(warnings)
}

fn check_platform(kind: &MachineType, warnings: &mut Vec<String>) -> Checked {
    check_name("os", &kind.os, "linux")?;
    check_go_word("os", &kind.os, &platform::os(&kind.os))?;
    warn_unless_known("os", &kind.os, &SYSTEMS, warnings);
    if let Some(architecture) = &kind.architecture {
        check_name("architecture", architecture, "amd64")?;
        check_go_word(
            "architecture",
            architecture,
            &platform::architecture(architecture).0,
        )?;
        warn_unless_known("architecture", architecture, &ARCHITECTURES, warnings);
    }
    if let Some(variant) = &kind.variant {
        check_name("variant", variant, "v7")?;
        check_variant(kind.architecture.as_deref(), variant, warnings)?;
    }
    match &kind.os_version {
        Some(version) if Version::parse(version).is_none() || version.len() > MAX_NAME => {
            let reason = "is no version; write for example `10.0.20348.1`";
            Err(invalid_field("os.version", version, reason))
        }
        _ => Ok(()),
    }
}

fn check_name(field: &'static str, value: &str, example: &str) -> Checked {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if value.is_empty() || value.len() > MAX_NAME || !value.chars().all(fine) {
        let reason = format!(
            "is no name of 1 to {MAX_NAME} letters and digits; write for example `{example}`"
        );
        return Err(invalid_field(field, value, reason));
    }
    Ok(())
}

fn check_go_word(field: &'static str, value: &str, word: &str) -> Checked {
    match value == word {
        true => Ok(()),
        false => Err(invalid_field(
            field,
            value,
            format!("is not the word that images use: write `{word}`"),
        )),
    }
}

fn check_variant(architecture: Option<&str>, variant: &str, warnings: &mut Vec<String>) -> Checked {
    match architecture {
        Some("arm") => match platform::arm_generation(&platform::arm_variant(variant)) {
            Some(5..=8) => Ok(()),
            _ => {
                let reason = "is no 32-bit arm variant; write `v5`, `v6`, `v7` or `v8`";
                Err(invalid_field("variant", variant, reason))
            }
        },
        Some(architecture) => match platform::level(architecture, variant) {
            Level::Cpu(cpu) => {
                warnings.push(format!(
                    "variant `{variant}` is for 32-bit arm hosts: write the feature `cpu:{cpu}` instead"
                ));
                Ok(())
            }
            Level::Any => Ok(()),
            Level::Unknown(_) => {
                let reason = "is for 32-bit arm hosts; write what the host has as features";
                Err(invalid_field("variant", variant, reason))
            }
        },
        None => {
            let reason =
                "says nothing without `architecture`; write `arm` there, or leave this out";
            Err(invalid_field("variant", variant, reason))
        }
    }
}

fn check_value(
    text: &str,
    feature: &Feature<'_>,
    cpus: &CpuTable,
    warnings: &mut Vec<String>,
) -> Checked {
    let value = feature.value.to_ascii_lowercase();
    match feature::meaning(&feature.namespace) {
        Meaning::Cpu => warn_of_cpu(feature.value, cpus, warnings),
        Meaning::Nvcap => {
            let gpu = nvcap::Gpu::new(&value);
            if !gpu.is_known() {
                let reason = "is no compute capability; write the GPU's as `nvcap:X.Y`, for example `nvcap:9.0`";
                return Err(invalid_feature(text, reason));
            }
            if !gpu.is_plain() {
                warnings.push(format!(
                    "feature `{text}`: a host has a compute capability, `a` and `f` are for variants: write `nvcap:{}`",
                    value.trim_end_matches(['a', 'f'])
                ));
            }
        }
        Meaning::Gfx if !gfx::Target::parse(&value).is_known() => {
            let reason = "is no AMD GPU target; write for example `gfx:gfx90a` or `gfx:gfx90a:sramecc+:xnack-`";
            return Err(invalid_feature(text, reason));
        }
        Meaning::Floor if Version::parse(feature.value).is_none() => {
            let reason = "is no version; write numbers and dots, for example `cuda:12.4`";
            return Err(invalid_feature(text, reason));
        }
        _ => {}
    }
    Ok(())
}

fn warn_of_cpu(name: &str, cpus: &CpuTable, warnings: &mut Vec<String>) {
    if cpus.contains(name) {
        return;
    }
    let hint = match cpus.nearest(name).as_slice() {
        [] => String::new(),
        near => format!("; known and near: {}", near.join(", ")),
    };
    warnings.push(format!(
        "cpu `{name}` is not known: only variants for exactly this name fit, and no level such as \
         `x86_64_v3` does; say what it runs by `metahubctl cpu add {name} --parent NAME`{hint}"
    ));
}

fn warn_unless_known(field: &str, value: &str, known: &[&str], warnings: &mut Vec<String>) {
    if !known.contains(&value) {
        warnings.push(format!(
            "{field} `{value}` is not one that images are published for: {}",
            known.join(", ")
        ));
    }
}

fn warn_of_lists(kind: &MachineType, cpus: &CpuTable, warnings: &mut Vec<String>) {
    let features = kind.features.iter().filter_map(|text| Feature::parse(text));
    let names: Vec<_> = features
        .filter(|feature| feature.namespace == feature::CPU)
        .collect();
    if names.len() > 1 {
        warnings.push(
            "several `cpu` features: variants for any of them fit; for one host name its CPU and list the others in `also_runs`"
                .into(),
        );
    }
    let Some(architecture) = kind.architecture.as_deref() else {
        return;
    };
    for name in names.iter().filter_map(|feature| cpus.find(feature.value)) {
        let family = cpus.family(name);
        if !platform::is_family_of(family, architecture) {
            warnings.push(format!(
                "architecture `{architecture}` is not that of its cpu, a kind of {family}: the cpu is left out of account"
            ));
        }
    }
}

fn count(field: &'static str, count: usize, limit: usize) -> Checked {
    match count > limit {
        true => Err(InvalidMachineType::TooMany {
            field,
            count,
            limit,
        }),
        false => Ok(()),
    }
}

fn invalid_feature(feature: &str, reason: &str) -> InvalidMachineType {
    InvalidMachineType::Feature {
        feature: shown(feature),
        reason: reason.into(),
    }
}

fn invalid_field(
    field: &'static str,
    value: &str,
    reason: impl Into<String>,
) -> InvalidMachineType {
    InvalidMachineType::Field {
        field,
        value: shown(value),
        reason: reason.into(),
    }
}

/// `text` as it may be shown on a terminal, cut to a sensible length.
fn shown(text: &str) -> String {
    text.escape_debug().take(feature::MAX_FEATURE).collect()
}
