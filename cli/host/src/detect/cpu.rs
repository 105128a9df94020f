//! The `cpu:` feature, and the CPU flags on request.

use std::{env::consts::ARCH, io};

use metahub_policy::{CpuTable, IdentifiedCpu, Processor};

use super::{DetectError, Options, cpuid, cpuinfo::CpuInfo, findings::Findings, root::Root};

const CPUINFO: &str = "proc/cpuinfo";
/// The size limit of the processor list: a machine with 4096 processors needs
/// about 8 MiB.
const MAX_CPUINFO: u64 = 64 << 20;
/// The largest number of flags in one warning.
const MAX_NAMED: usize = 12;

/// Adds the features of the processors below `root`.
pub(super) fn detect(
    root: &Root,
    cpus: &CpuTable,
    options: &Options,
    findings: &mut Findings,
) -> Result<(), DetectError> {
    let source = if options.cpuid {
        "cpuid"
    } else {
        "/proc/cpuinfo"
    };
    let read = if options.cpuid {
        cpuid::read()
    } else {
        read(root)?
    };
    for difference in &read.differences {
        findings.warn(format!("{source}: {difference}"));
    }
    let processor = &read.processor;
    if root.is_own() && processor.family != own_family() {
        let (family, own) = (&processor.family, own_family());
        findings.warn(format!(
            "{source} lists {family} processors, but this program is built for {own}: the machine is emulated"
        ));
    }
    match cpus.identify(processor) {
        Some(cpu) => add(findings, source, &read, cpu),
        None => findings.warn(format!(
            "no CPU name is known for {} processors",
            processor.family
        )),
    }
    if options.full {
        for flag in &processor.flags {
            findings.add(cpus.canonical_flag(flag), source, flag);
        }
    }
    Ok(())
}

fn read(root: &Root) -> Result<CpuInfo, DetectError> {
    let failed = |source| DetectError::Processors {
        path: root.path(CPUINFO).display().to_string(),
        source,
    };
    let text = root.read(CPUINFO, MAX_CPUINFO).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    CpuInfo::parse(&text, own_family())
        .ok_or_else(|| failed(io::Error::other("it lists no processor")))
}

fn add(findings: &mut Findings, source: &str, read: &CpuInfo, cpu: IdentifiedCpu) {
    let name = &cpu.name;
    findings.add(
        format!("cpu:{name}"),
        source,
        &evidence(&read.processor, &read.raw),
    );
    if !cpu.absent.is_empty() {
        let named: Vec<_> = cpu.absent.iter().take(MAX_NAMED).cloned().collect();
        let more = if cpu.absent.len() > MAX_NAMED {
            ", …"
        } else {
            ""
        };
        findings.warn(format!(
            "a {name} has {}{more}, but {source} does not list it: a hypervisor or the firmware may hide it",
            named.join(", ")
        ));
    }
    if let Some((design, lacking)) = &cpu.nearly {
        let lacking = lacking.join(", ");
        findings.warn(format!(
            "the processors are a {design} but for {lacking}, which {source} does not list: taken for the weaker {name}"
        ));
    }
    if let Some(level) = cpu.level {
        findings.set_level(level);
    }
}

fn evidence(processor: &Processor, raw: &str) -> String {
    let fields = [&processor.vendor, &processor.part, &raw.to_owned()];
    let fields = fields.into_iter().filter(|field| !field.is_empty());
    fields.cloned().collect::<Vec<_>>().join(" ")
}

/// The name of the baseline that this program is built for.
fn own_family() -> &'static str {
    match ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "x86" => "i686",
        other => other,
    }
}
