//! A machine type made ready for selection: features parsed, CPU looked up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    CpuTable, InvalidMachineType, MachineType, Platforms,
    feature::{self, Feature, Meaning},
    machine_type::{readable, selected_platform},
    nvcap::Gpu,
    platform::{self, ClientPlatform},
    version::Version,
};

mod processors;

pub(crate) use self::processors::Processors;

/// A machine type made ready for selection. Made once for each policy
/// revision, used for each selection.
#[derive(Clone, Debug)]
pub struct Host {
    machine_type: MachineType,
    cpus: Arc<CpuTable>,
    fingerprint: [u8; 32],
    platform: HostPlatform,
    processors: Processors,
    gpus: Vec<Gpu>,
    /// Canonical values by namespace.
    features: BTreeMap<String, BTreeSet<String>>,
    /// The host that entries for other platforms are chosen for, where the type
    /// asks for those.
    other: Option<Box<Host>>,
}

/// How well a platform suits a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// It is the host's own.
    Own,
    /// The host runs its images where there are none for its own.
    Compatible,
}

/// Which platforms a host takes images of.
#[derive(Clone, Debug)]
pub(crate) struct HostPlatform {
    pub(crate) os: String,
    /// In Go's words. Empty: any.
    pub(crate) architectures: BTreeSet<String>,
    /// Of 32-bit arm, for example `v7`.
    pub(crate) variant: Option<String>,
    pub(crate) os_version: Option<String>,
}

impl Host {
    /// Parses `machine_type` with the names of `cpus`.
    ///
    /// Fails only for lists of features that cannot be read. Call
    /// [`MachineType::check`] where an admin waits for an answer.
    pub fn new(machine_type: MachineType, cpus: Arc<CpuTable>) -> Result<Self, InvalidMachineType> {
        readable(&machine_type)?;
        let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for feature in machine_type
            .features
            .iter()
            .filter_map(|text| Feature::parse(text))
        {
            let (namespace, value) = host_feature(&feature, &machine_type, &cpus);
            features.entry(namespace).or_default().insert(value);
        }
        let processors = Processors::new(&features, &machine_type, &cpus);
        let gpus = features.get(feature::NVCAP).into_iter().flatten();
        Ok(Self {
            fingerprint: fingerprint(&machine_type, &cpus),
            platform: host_platform(&machine_type, &processors),
            processors,
            gpus: gpus.map(|text| Gpu::new(text)).collect(),
            features,
            other: match machine_type.platforms {
                Platforms::Own => None,
                Platforms::All => Some(Box::new(Self::new(MachineType::default(), cpus.clone())?)),
            },
            machine_type,
            cpus,
        })
    }

    /// This host with the features of an ad-hoc selector, for example those
    /// after `+` in `qnib-type1+nvcap:8.0`.
    ///
    /// A selector's namespaces replace the type's own values in them, as those
    /// of a rule do with a variant's; other namespaces stay. So a selector can
    /// say less than the type as well as more. `arch:arm64` or `arch:arm/v7`
    /// asks for what another platform is given: of one that is not the type's,
    /// no features are known but the selectors'.
    pub fn with_selectors(&self, selectors: &[&str]) -> Result<Self, InvalidMachineType> {
        let mut machine_type = self.machine_type.clone();
        let (platforms, selectors): (Vec<_>, Vec<_>) = selectors
            .iter()
            .copied()
            .partition(|text| namespace(text).as_deref() == Some(feature::ARCH));
        for text in platforms {
            let (architecture, variant) = selected_platform(text)?;
            if self.platform.only_architecture() != Some(&architecture) {
                machine_type.features.clear();
                machine_type.also_runs.clear();
            }
            machine_type.architecture = Some(architecture);
            machine_type.variant = variant;
        }
        let replaced: BTreeSet<String> = selectors
            .iter()
            .filter_map(|text| namespace(text))
            .collect();
        machine_type
            .features
            .retain(|text| !namespace(text).is_some_and(|own| replaced.contains(&own)));
        let selectors = selectors.iter().map(|text| text.to_string());
        machine_type.features.extend(selectors);
        Self::new(machine_type, Arc::clone(&self.cpus))
    }

    /// The machine type that it was made of.
    pub fn machine_type(&self) -> &MachineType {
        &self.machine_type
    }

    /// Names everything that selection reads of this host: the machine type's
    /// fields and the CPU names that the site added. Equal for equal content
    /// in every process of one release; the order of features and of the
    /// site's CPU names does not count. For keys of caches.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(crate) fn cpus(&self) -> &CpuTable {
        &self.cpus
    }

    pub(crate) fn platform(&self) -> &HostPlatform {
        &self.platform
    }

    pub(crate) fn processors(&self) -> &Processors {
        &self.processors
    }

    pub(crate) fn other(&self) -> Option<&Self> {
        self.other.as_deref()
    }

    pub(crate) fn gpus(&self) -> &[Gpu] {
        &self.gpus
    }

    /// Its canonical values in `namespace`.
    pub(crate) fn values(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let values = self.features.get(namespace);
        values.into_iter().flatten().map(String::as_str)
    }

    /// Every canonical feature, by namespace and value.
    pub(crate) fn features(&self) -> impl Iterator<Item = (&str, &str)> {
        let spaces = self.features.iter();
        spaces.flat_map(|(namespace, values)| {
            values
                .iter()
                .map(|value| (namespace.as_str(), value.as_str()))
        })
    }
}

impl HostPlatform {
    /// Whether the host takes images of `platform`, and how gladly.
    ///
    /// A 32-bit arm host runs its own variant and those before it. A Windows
    /// host runs images of its own build, whatever their revision.
    pub(crate) fn tier(&self, platform: &ClientPlatform<'_>) -> Option<Tier> {
        if self.os != platform.os {
            return None;
        }
        let own = self.is_own_architecture(platform);
        let wider = platform::wider(&platform.architecture);
        let is_wider = wider.is_some_and(|wider| self.architectures.contains(wider));
        let version = match &self.os_version {
            Some(own) if platform::suits_os_version(own, platform.os_version) => Tier::Own,
            Some(own)
                if self.os == "windows"
                    && platform::runs_older_windows(own, platform.os_version) =>
            {
                Tier::Compatible
            }
            Some(_) => return None,
            None => Tier::Own,
        };
        match (own, version) {
            (true, _) if !self.takes_variant(&platform.variant) => None,
            (true, version) => Some(version),
            (false, _) => is_wider.then_some(Tier::Compatible),
        }
    }

    /// How near `platform`, which the host takes, is to the host's. Greater is
    /// nearer. What the type leaves open does not count.
    pub(crate) fn nearness(
        &self,
        platform: &ClientPlatform<'_>,
    ) -> (bool, Option<Version>, Option<u32>) {
        let own = self.is_own_architecture(platform);
        let version = self.os_version.as_ref();
        let version = version.and_then(|_| Version::parse(platform.os_version));
        let counts = self.variant.is_some() || !own;
        (own, version, platform.arm_generation().filter(|_| counts))
    }

    fn is_own_architecture(&self, platform: &ClientPlatform<'_>) -> bool {
        self.architectures.is_empty() || self.architectures.contains(&*platform.architecture)
    }

    /// The one architecture that the host is of, if it is known.
    pub(crate) fn only_architecture(&self) -> Option<&str> {
        let mut architectures = self.architectures.iter();
        let first = architectures.next()?;
        architectures.next().is_none().then_some(first)
    }

    fn takes_variant(&self, variant: &str) -> bool {
        let own = match &self.variant {
            Some(own) if !variant.is_empty() => own,
            _ => return true,
        };
        match (
            platform::arm_generation(own),
            platform::arm_generation(variant),
        ) {
            (Some(own), Some(other)) => other <= own,
            _ => own == variant,
        }
    }
}

impl fmt::Display for HostPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architectures: Vec<_> = self.architectures.iter().map(String::as_str).collect();
        match architectures.is_empty() {
            true => write!(f, "{}", self.os)?,
            false => write!(f, "{}/{}", self.os, architectures.join("|"))?,
        }
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        match &self.os_version {
            Some(version) => write!(f, " {version}"),
            None => Ok(()),
        }
    }
}

/// Namespace and value of a host's feature. A `variant` that is a CPU level is
/// that CPU.
fn host_feature(feature: &Feature<'_>, kind: &MachineType, cpus: &CpuTable) -> (String, String) {
    let architecture = kind.architecture.as_deref();
    let level = (feature.namespace == feature::VARIANT)
        .then(|| platform::cpu_of_host_variant(architecture, feature.value))
        .flatten();
    match level {
        Some(cpu) => (feature::CPU.to_owned(), cpus.canonical(&cpu)),
        None => (
            feature.namespace.clone().into_owned(),
            canonical(feature, cpus),
        ),
    }
}

/// The one spelling of a feature's value.
pub(crate) fn canonical(feature: &Feature<'_>, cpus: &CpuTable) -> String {
    match feature::meaning(&feature.namespace) {
        Meaning::Cpu => cpus.canonical(feature.value),
        Meaning::Isa => crate::cpu::flag_of(feature.value),
        Meaning::Nvcap | Meaning::Gfx => feature.value.to_ascii_lowercase(),
        Meaning::Floor | Meaning::Opaque => feature.value.to_owned(),
    }
}

fn namespace(text: &str) -> Option<String> {
    Feature::parse(text).map(|feature| feature.namespace.into_owned())
}

fn host_platform(kind: &MachineType, processors: &Processors) -> HostPlatform {
    let (given, implied) = match &kind.architecture {
        Some(name) => {
            let (architecture, variant) = platform::architecture(name);
            (Some(architecture.into_owned()), variant)
        }
        None => (None, None),
    };
    let variant = kind.variant.as_deref().or(implied);
    HostPlatform {
        os: platform::os(&kind.os).into_owned(),
        architectures: match given {
            Some(architecture) => BTreeSet::from([architecture]),
            None => processors.architectures().map(str::to_owned).collect(),
        },
        variant: variant.map(|variant| platform::arm_variant(variant).into_owned()),
        os_version: kind.os_version.clone(),
    }
}

fn fingerprint(kind: &MachineType, cpus: &CpuTable) -> [u8; 32] {
    let mut sorted = kind.clone();
    sorted.features.sort_unstable();
    sorted.features.dedup();
    sorted.also_runs.sort_unstable();
    sorted.also_runs.dedup();
    let text = serde_json::to_vec(&sorted).expect("a machine type is made of texts and names");
    let mut context = Context::new(&SHA256);
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(&text);
    context.update(cpus.content());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn host(features: &[&str]) -> Host {
        with_cpus(features, CpuTable::builtin())
    }

    fn with_cpus(features: &[&str], cpus: Arc<CpuTable>) -> Host {
        let features = features.iter().map(|text| text.to_string()).collect();
        let kind = MachineType {
            features,
            ..MachineType::default()
        };
        Host::new(kind, cpus).unwrap()
    }

    #[test]
    fn a_cpu_implies_its_architecture_and_an_unknown_one_none() {
        let architectures = |features: &[&str]| host(features).platform.to_string();

        assert_eq!(architectures(&["cpu:zen3"]), "linux/amd64");
        assert_eq!(architectures(&["cpu:graviton3"]), "linux/arm64");
        assert_eq!(architectures(&["cpu:power9le"]), "linux/ppc64le");
        assert_eq!(architectures(&["cpu:futurelake"]), "linux");
        assert_eq!(architectures(&["net:efa"]), "linux");
    }

    #[test]
    fn a_fingerprint_depends_on_content_and_not_on_order() {
        assert_eq!(
            host(&["a:1", "b:2"]).fingerprint(),
            host(&["b:2", "a:1"]).fingerprint()
        );
        assert_ne!(
            host(&["a:1", "b:2"]).fingerprint(),
            host(&["a:1"]).fingerprint()
        );
    }

    #[test]
    fn a_fingerprint_depends_on_the_names_that_a_site_added() {
        let cpu = Cpu {
            name: "futurelake".into(),
            parents: vec!["arrowlake".into()],
            features: Vec::new(),
            aliases: Vec::new(),
        };
        let site = Arc::new(CpuTable::with_site(&[cpu]).unwrap());

        assert_ne!(
            with_cpus(&["a:1"], site).fingerprint(),
            host(&["a:1"]).fingerprint()
        );
    }

    #[test]
    fn a_fingerprint_is_the_same_in_every_process() {
        let fingerprint = host(&["cpu:zen3", "nvcap:8.0"]).fingerprint();
        let hex: String = fingerprint
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        assert_eq!(
            hex,
            "c6e2d4de9f65ddd8c7640c95bafb091ca3ad4e5a3109955890c454506451eab6"
        );
    }

    #[test]
    fn selectors_replace_the_values_of_their_namespaces() {
        let host = host(&["cpu:zen3", "nvcap:9.0", "avx2"]);

        let selected = host.with_selectors(&["nvcap:8.0", "NET:efa"]).unwrap();

        let features: Vec<_> = selected
            .features()
            .map(|(n, v)| feature::spell(n, v))
            .collect();
        assert_eq!(features, ["NET:efa", "cpu:zen3", "avx2", "nvcap:8.0"]);
        assert_ne!(selected.fingerprint(), host.fingerprint());
    }

    #[test]
    fn a_selector_of_another_architecture_leaves_the_types_features_out() {
        let host = host(&["cpu:zen3", "nvcap:9.0"]);
        let selected = |selectors: &[&str]| {
            let host = host.with_selectors(selectors).unwrap();
            let features = host.features().map(|(n, v)| feature::spell(n, v));
            (host.platform.to_string(), features.collect::<Vec<_>>())
        };
        let of = |platform: &str, features: &[&str]| {
            let features = features.iter().map(|text| text.to_string());
            (platform.to_owned(), features.collect::<Vec<_>>())
        };

        assert_eq!(selected(&["arch:arm64"]), of("linux/arm64", &[]));
        assert_eq!(selected(&["arch:AArch64"]), of("linux/arm64", &[]));
        assert_eq!(selected(&["arch:arm/v6"]), of("linux/arm/v6", &[]));
        assert_eq!(
            selected(&["cpu:graviton3", "arch:arm64"]),
            of("linux/arm64", &["cpu:neoverse_v1"])
        );
        assert_eq!(
            selected(&["arch:amd64"]),
            of("linux/amd64", &["cpu:zen3", "nvcap:9.0"])
        );
    }

    #[test]
    fn selectors_that_cannot_be_read_are_refused() {
        let unknown = host(&[]).with_selectors(&["arch:amr64"]).unwrap_err();
        assert!(unknown.to_string().contains("arm64, loong64"), "{unknown}");
        assert!(host(&[]).with_selectors(&["cpu:"]).is_err());
        assert!(host(&[]).with_selectors(&["a,b"]).is_err());
    }
}
