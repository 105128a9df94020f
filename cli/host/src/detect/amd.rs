//! `gfx:` and `rocm:`: AMD GPUs, by the kernel's compute driver (KFD).
//!
//! KFD reports whether SRAM ECC is on. It does not report the XNACK mode, which
//! each process sets for itself: `xnack` is left out.

use super::{findings::Findings, root::Root, system::leading_version};

const NODES: &str = "sys/class/kfd/kfd/topology/nodes";
const ROCM: &str = "opt/rocm/.info/version";
const VENDOR: u64 = 4098;
/// `HSA_CAP_SRAM_EDCSUPPORTED` from Linux's `kfd_sysfs.h`.
const SRAM_ECC: u64 = 1 << 26;

/// Adds the targets of the GPUs below `root`.
pub(super) fn detect(root: &Root, full: bool, findings: &mut Findings) {
    for node in root.names(NODES) {
        let path = format!("{NODES}/{node}/properties");
        let properties = root.text(&path).unwrap_or_default();
        let id = root.text(&format!("{NODES}/{node}/gpu_id"));
        if properties.is_empty() && id.is_some_and(|id| id != "0") {
            findings.warn(format!(
                "cannot read /{path}: that GPU is not among the features"
            ));
        }
        add_target(&properties, &path, findings);
    }
    // Containers rarely depend on the host's user space.
    if full && let Some(version) = root.text(ROCM).filter(|text| !text.is_empty()) {
        let feature = format!("rocm:{}", leading_version(&version));
        findings.add(feature, &format!("/{ROCM}"), &version);
    }
}

fn add_target(properties: &str, path: &str, findings: &mut Findings) {
    let property = |name: &str| {
        let mut lines = properties.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = lines.find(|(key, _)| *key == name)?;
        value.trim().parse::<u64>().ok()
    };
    let version = property("gfx_target_version").unwrap_or(0);
    let is_amd = property("vendor_id").is_none_or(|vendor| vendor == VENDOR);
    if version == 0 || !is_amd {
        return;
    }
    let Some(target) = target(version) else {
        findings.warn(format!(
            "/{path}: {version} is no gfx_target_version that is known"
        ));
        return;
    };
    let has_ecc = property("capability").is_some_and(|capability| capability & SRAM_ECC != 0);
    let ecc = if has_ecc { ":sramecc+" } else { "" };
    let raw = format!("gfx_target_version {version}");
    findings.add(format!("gfx:{target}{ecc}"), &format!("/{path}"), &raw);
}

/// The name of a target: 90010 is major 9, minor 0, step 10, `gfx90a`.
fn target(version: u64) -> Option<String> {
    let (major, minor, step) = (version / 10_000, version / 100 % 100, version % 100);
    let fits = (1..100).contains(&major) && minor < 16 && step < 16;
    fits.then(|| format!("gfx{major}{minor:x}{step:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_and_step_of_a_target_are_hexadecimal_digits() {
        for (version, name) in [
            (90010, "gfx90a"),
            (90402, "gfx942"),
            (100_300, "gfx1030"),
            (110_501, "gfx1151"),
            (120_001, "gfx1201"),
        ] {
            assert_eq!(target(version).as_deref(), Some(name));
        }
        for version in [0, 9, 110_099, 4_294_967_296] {
            assert_eq!(target(version), None, "{version}");
        }
    }
}
