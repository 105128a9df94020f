//! Reads a Kubernetes node's features from its labels: those of node feature
//! discovery (`feature.node.kubernetes.io/…`) and of NVIDIA's GPU feature
//! discovery (`nvidia.com/…`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{inventory::NodeInfo, slices::leading};
use crate::CpuTable;

mod cpu;

/// Labels of a node.
pub(super) type Labels = BTreeMap<String, String>;

const NFD: &str = "feature.node.kubernetes.io/";
const GFD: &str = "nvidia.com/";

/// The facts in a node's labels.
pub(super) struct ReadLabels {
    pub(super) os: String,
    pub(super) architecture: String,
    pub(super) features: Vec<String>,
    /// Warnings without the node's name, as sentences.
    pub(super) warnings: Vec<&'static str>,
}

/// Reads the labels of many nodes; caches the CPU names of equal labels.
pub(super) struct LabelReader<'a> {
    cpus: &'a CpuTable,
    /// CPU names, by the CPU facts in the labels.
    identified: HashMap<cpu::Told, Option<String>>,
}

impl<'a> LabelReader<'a> {
    pub(super) fn new(cpus: &'a CpuTable) -> Self {
        Self {
            cpus,
            identified: HashMap::new(),
        }
    }

    /// Reads one node: its labels, the kubelet's node information, and the
    /// names of the resources of device plugins.
    pub(super) fn read<'r>(
        &mut self,
        labels: &Labels,
        info: &NodeInfo,
        resources: impl Iterator<Item = &'r str>,
    ) -> ReadLabels {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let architecture = label("kubernetes.io/arch")
            .or_else(|| label("beta.kubernetes.io/arch"))
            .unwrap_or(&info.architecture);
        let os = label("kubernetes.io/os").unwrap_or(&info.operating_system);
        let resources: BTreeSet<_> = resources.collect();
        let mut read = ReadLabels {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            features: Vec::new(),
            warnings: Vec::new(),
        };
        self.cpu(labels, &mut read);
        read.nvidia(labels, &resources);
        read.amd(labels, &resources);
        read.network(labels, &resources);
        let kernel = label("feature.node.kubernetes.io/kernel-version.full");
        let kernel = leading(kernel.unwrap_or(&info.kernel_version), 3);
        let kernel = kernel.filter(|_| read.os != "windows");
        read.add("kernel", kernel);
        read
    }

    fn cpu(&mut self, labels: &Labels, read: &mut ReadLabels) {
        let told = cpu::Told::of(labels, &read.architecture);
        let known = self.identified.get(&told).cloned();
        let name = known.unwrap_or_else(|| {
            let name = told.identify(self.cpus);
            self.identified.insert(told, name.clone());
            name
        });
        if name.is_none() {
            read.warnings.push(
                "no CPU is known: install node feature discovery, or run metahubctl host detect there",
            );
        }
        read.add("cpu", name);
    }
}

impl ReadLabels {
    fn add(&mut self, namespace: &str, value: Option<String>) {
        let feature = value.map(|value| format!("{namespace}:{value}"));
        self.features.extend(feature);
    }

    fn nvidia(&mut self, labels: &Labels, resources: &BTreeSet<&str>) {
        let label = |name: &str| {
            let value = labels.get(&format!("{GFD}{name}"));
            value.map(String::as_str).filter(|value| !value.is_empty())
        };
        let joined = |names: [&str; 3]| {
            let parts: Vec<_> = names.iter().map_while(|name| label(name)).collect();
            parts.join(".")
        };
        let capability = joined(["gpu.compute.major", "gpu.compute.minor", ""]);
        let capability = leading(&capability, 2).filter(|it| it.contains('.'));
        let driver = match label("cuda.driver-version.full") {
            Some(full) => full.to_owned(),
            None => joined(["cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev"]),
        };
        let cuda = match label("cuda.runtime-version.full") {
            Some(full) => full.to_owned(),
            None => joined(["cuda.runtime.major", "cuda.runtime.minor", ""]),
        };
        let has_gpu = resources.contains("nvidia.com/gpu") || label("gpu.product").is_some();
        if has_gpu && capability.is_none() {
            self.warnings.push(
                "no compute capability is known of its NVIDIA GPUs: install GPU feature discovery, \
                 or give its ResourceSlices, too",
            );
        }
        self.add("nvcap", capability);
        self.add("nvdrv", leading(&driver, 3));
        self.add("cuda", leading(&cuda, 2));
    }

    /// Labels of AMD's device plugin contain a product and no target.
    fn amd(&mut self, labels: &Labels, resources: &BTreeSet<&str>) {
        let is_amd = |name: &String| name.starts_with("amd.com/gpu.");
        if resources.contains("amd.com/gpu") || labels.keys().any(is_amd) {
            self.warnings
                .push("no target (gfx) is known of its AMD GPUs: run metahubctl host detect there");
        }
    }

    fn network(&mut self, labels: &Labels, resources: &BTreeSet<&str>) {
        let is = |name: &str| labels.get(name).is_some_and(|value| value == "true");
        let efa = "vpc.amazonaws.com/efa";
        if resources.contains(efa) || is("vpc.amazonaws.com/efa.present") {
            self.add("net", Some("efa".into()));
        }
        let nfd = |name: &str| is(&format!("{NFD}{name}"));
        let mellanox = [
            "pci-15b3.present",
            "pci-0200_15b3.present",
            "pci-0207_15b3.present",
        ];
        let rdma = ["rdma.available", "rdma.capable", "custom-rdma.available"];
        if mellanox.into_iter().any(nfd) && rdma.into_iter().any(nfd) {
            self.add("net", Some("mlx5".into()));
        }
    }
}
