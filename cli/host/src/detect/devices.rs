//! The `net:` and `gpu:` features: fabric adapters and Intel GPUs, as plain
//! words.

use super::{findings::Findings, root::Root};

const INFINIBAND: &str = "sys/class/infiniband";
const CXI: &str = "sys/class/cxi";
const DRM: &str = "sys/class/drm";

/// Adapters that the kernel lists under `infiniband`: the driver, the PCI
/// vendor, the first two digits of the PCI device ids for vendors with other
/// devices too, and the feature's word.
const FABRICS: [(&str, &str, &str, &str); 7] = [
    ("mlx5_core", "0x15b3", "0x10", "mlx5"),
    ("mlx5_core", "0x15b3", "0xa2", "mlx5"),
    ("mlx4_core", "", "", "mlx4"),
    ("efa", "0x1d0f", "0xef", "efa"),
    ("hfi1", "0x8086", "0x24", "hfi1"),
    ("bnxt_en", "0x14e4", "", "bnxt_re"),
    ("irdma", "", "", "irdma"),
];

/// Adds the adapters below `root`.
pub(super) fn detect(root: &Root, findings: &mut Findings) {
    for name in root.names(INFINIBAND) {
        let device = format!("{INFINIBAND}/{name}/device");
        // A software device such as rxe has no PCI device.
        if root.has(&device)
            && let Some((word, raw)) = fabric(root, &device)
        {
            findings.add(
                format!("net:{word}"),
                &format!("/{INFINIBAND}/{name}"),
                &raw,
            );
        }
    }
    if let Some(name) = root.names(CXI).first() {
        findings.add("net:cxi".to_owned(), &format!("/{CXI}/{name}"), name);
    }
    for name in root.names(DRM) {
        let device = format!("{DRM}/{name}/device");
        let (vendor, driver) = (vendor(root, &device), driver(root, &device));
        let is_used = driver
            .as_deref()
            .is_none_or(|driver| ["i915", "xe"].contains(&driver));
        if vendor == "0x8086" && is_used {
            let raw = format!("{vendor} {}", driver.unwrap_or_default());
            findings.add("gpu:intel".to_owned(), &format!("/{DRM}/{name}"), &raw);
        }
    }
}

/// The word for an adapter, by its driver or, for a hidden driver, by its PCI
/// ids.
fn fabric(root: &Root, device: &str) -> Option<(&'static str, String)> {
    let driver = driver(root, device);
    let vendor = vendor(root, device);
    let id = root.text(&format!("{device}/device")).unwrap_or_default();
    let known = FABRICS.iter().find(|known| match &driver {
        Some(driver) => known.0 == driver,
        None => !known.1.is_empty() && known.1 == vendor && id.starts_with(known.2),
    })?;
    let raw = format!("{} {vendor} {id}", driver.unwrap_or_default());
    Some((known.3, raw))
}

fn driver(root: &Root, device: &str) -> Option<String> {
    root.link_name(&format!("{device}/driver"))
}

fn vendor(root: &Root, device: &str) -> String {
    root.text(&format!("{device}/vendor")).unwrap_or_default()
}
