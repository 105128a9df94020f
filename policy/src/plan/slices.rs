//! Reads the GPUs of a node from the ResourceSlices of dynamic resource
//! allocation, as NVIDIA's driver publishes them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::version::Version;

/// The name of NVIDIA's driver, and of the domain of its attributes.
const NVIDIA: &str = "gpu.nvidia.com";

/// The devices of one driver on one node.
#[derive(Deserialize)]
pub(super) struct Slice {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    driver: String,
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    devices: Vec<Device>,
}

/// A device, of `resource.k8s.io/v1` or, with `basic`, of the beta versions.
#[derive(Deserialize)]
struct Device {
    #[serde(default)]
    attributes: BTreeMap<String, Attribute>,
    #[serde(default)]
    basic: Option<Basic>,
}

#[derive(Deserialize)]
struct Basic {
    #[serde(default)]
    attributes: BTreeMap<String, Attribute>,
}

/// An attribute's value. Other kinds than texts and versions are ignored.
#[derive(Deserialize)]
struct Attribute {
    string: Option<String>,
    version: Option<String>,
}

impl Slice {
    /// The node of the slice. `None` if the slice covers several nodes.
    pub(super) fn node(&self) -> Option<&str> {
        let name = self.spec.node_name.as_deref();
        name.filter(|name| !name.is_empty())
    }
}

/// The features of a slice's devices. Empty for other drivers than NVIDIA's.
pub(super) fn features(slice: &Slice) -> Vec<String> {
    if slice.spec.driver != NVIDIA {
        return Vec::new();
    }
    let mut features = Vec::new();
    for device in &slice.spec.devices {
        let told = [
            ("nvcap", device.version("cudaComputeCapability"), 2),
            ("nvdrv", device.version("driverVersion"), 3),
            ("cuda", device.version("cudaDriverVersion"), 2),
        ];
        for (namespace, version, parts) in told {
            let version = version.and_then(|version| leading(version, parts));
            features.extend(version.map(|version| format!("{namespace}:{version}")));
        }
    }
    features.sort_unstable();
    features.dedup();
    features
}

impl Device {
    fn version(&self, name: &str) -> Option<&str> {
        let qualified = format!("{NVIDIA}/{name}");
        let basic = self.basic.as_ref().map(|basic| &basic.attributes);
        let mut all = [Some(&self.attributes), basic].into_iter().flatten();
        let found = all.find_map(|them| them.get(name).or_else(|| them.get(&qualified)))?;
        found.version.as_deref().or(found.string.as_deref())
    }
}

/// The first `parts` numbers of a version: `9.0` of `9.0.0` for two parts.
pub(super) fn leading(version: &str, parts: usize) -> Option<String> {
    Version::parse(version)?;
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers = version[..end.unwrap_or(version.len())].split('.');
    let numbers: Vec<_> = numbers.take_while(digits).take(parts).collect();
    (!numbers.is_empty()).then(|| numbers.join("."))
}
