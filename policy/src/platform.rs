//! Platforms as clients see them, and what their variants say of a CPU.

use std::borrow::Cow;

use crate::{Platform, version::Version};

/// What a client tells platforms apart by: entries of one client-visible
/// platform look the same to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientPlatform<'a> {
    pub(crate) os: Cow<'a, str>,
    pub(crate) architecture: Cow<'a, str>,
    pub(crate) os_version: &'a str,
    /// Those without namespace, sorted.
    pub(crate) os_features: Vec<&'a str>,
    /// Of 32-bit arm only.
    pub(crate) variant: Cow<'a, str>,
}

/// What a `platform.variant` asks of the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level<'a> {
    /// Nothing that not every host of the architecture has.
    Any,
    /// A host that runs builds for this CPU name.
    Cpu(Cow<'a, str>),
    /// Something in no table.
    Unknown(&'a str),
}

/// Architectures in Go's words and the CPU families whose hosts run them, the
/// baseline of the architecture first.
const FAMILIES: [(&str, &[&str]); 12] = [
    ("amd64", &["x86_64"]),
    ("386", &["x86", "x86_64"]),
    ("arm64", &["aarch64"]),
    ("arm", &["arm", "aarch64"]),
    ("ppc64le", &["ppc64le"]),
    ("ppc64", &["ppc64"]),
    ("ppc", &["ppc"]),
    ("ppcle", &["ppcle"]),
    ("riscv64", &["riscv64"]),
    ("s390x", &["s390x"]),
    ("sparc64", &["sparc64"]),
    ("sparc", &["sparc"]),
];

impl<'a> ClientPlatform<'a> {
    pub(crate) fn of(platform: &'a Platform) -> Self {
        let (architecture, implied) = architecture(&platform.architecture);
        let variant = match (architecture.as_ref(), platform.variant.trim()) {
            ("arm", "") => Cow::Borrowed(implied.unwrap_or("v7")),
            ("arm", variant) => arm_variant(variant),
            _ => Cow::Borrowed(""),
        };
        let plain = platform.os_features.iter().map(|feature| feature.trim());
        let mut os_features: Vec<_> = plain.filter(|feature| !is_requirement(feature)).collect();
        os_features.sort_unstable();
        os_features.dedup();
        Self {
            os: os(&platform.os),
            architecture,
            os_version: platform.os_version.trim(),
            os_features,
            variant,
        }
    }

    /// Whether images of both are for hosts of one kind: they differ in version,
    /// in 32-bit arm variant, or in one being the 32-bit form of the other.
    pub(crate) fn serves_as(&self, other: &Self) -> bool {
        let (own, others) = (&*self.architecture, &*other.architecture);
        self.os == other.os
            && self.os_features == other.os_features
            && (own == others || wider(own) == Some(others) || wider(others) == Some(own))
    }

    /// The number of its 32-bit arm variant.
    pub(crate) fn arm_generation(&self) -> Option<u32> {
        arm_generation(&self.variant)
    }
}

impl std::fmt::Display for ClientPlatform<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        if !self.os_version.is_empty() {
            write!(f, " {}", self.os_version)?;
        }
        Ok(())
    }
}

/// Whether a value of `os.features` is a requirement: it has a namespace.
pub(crate) fn is_requirement(os_feature: &str) -> bool {
    os_feature.contains(':')
}

/// An os in Go's words.
pub(crate) fn os(name: &str) -> Cow<'_, str> {
    match lower(name) {
        os if os == "macos" => Cow::Borrowed("darwin"),
        os => os,
    }
}

/// An architecture in Go's words, with the 32-bit arm variant that the name
/// implies.
pub(crate) fn architecture(name: &str) -> (Cow<'_, str>, Option<&'static str>) {
    let name = lower(name);
    match name.as_ref() {
        "x86_64" | "x86-64" => ("amd64".into(), None),
        "aarch64" => ("arm64".into(), None),
        "i386" | "i686" => ("386".into(), None),
        "armhf" => ("arm".into(), Some("v7")),
        "armel" => ("arm".into(), Some("v6")),
        _ => (name, None),
    }
}

/// A variant of 32-bit arm in the form `v7`.
pub(crate) fn arm_variant(variant: &str) -> Cow<'_, str> {
    match lower(variant) {
        plain if plain.starts_with(|c: char| c.is_ascii_digit()) => Cow::Owned(format!("v{plain}")),
        other => other,
    }
}

/// The number of a 32-bit arm variant: 7 for `v7`.
pub(crate) fn arm_generation(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

/// Whether a host of os version `own` runs images of `other`: the build, the
/// first three numbers, is the same as far as the host's is given. An image
/// that names none suits every host.
pub(crate) fn suits_os_version(own: &str, other: &str) -> bool {
    let given = own.split('.').count().min(3);
    match (Version::parse(own), Version::parse(other)) {
        (Some(own), Some(other)) => own.agrees(&other, given),
        _ => other.is_empty() || own == other,
    }
}

/// Whether a Windows host of version `own` also runs images of the older
/// `other`: from build 20348 on, hosts run images of all builds since it.
pub(crate) fn runs_older_windows(own: &str, other: &str) -> bool {
    let build = |version: &str| Version::parse(version).map(|version| version.first(3));
    let (Some(own), Some(other), Some(stable)) = (build(own), build(other), build("10.0.20348"))
    else {
        return false;
    };
    own.agrees(&stable, 2) && other.agrees(&stable, 2) && stable <= other && other < own
}

/// The architecture whose hosts run 32-bit images of `architecture`.
pub(crate) fn wider(architecture: &str) -> Option<&'static str> {
    match architecture {
        "386" => Some("amd64"),
        "arm" => Some("arm64"),
        _ => None,
    }
}

/// The architecture that a CPU family implies.
pub(crate) fn implied_by(family: &str) -> Option<&'static str> {
    let own = |(_, families): &&(&str, &[&str])| families.first() == Some(&family);
    FAMILIES
        .iter()
        .find(own)
        .map(|(architecture, _)| *architecture)
}

/// The CPU that every host of `architecture` is at least.
pub(crate) fn baseline(architecture: &str) -> Option<&'static str> {
    match architecture {
        "ppc64le" => Some("power8le"),
        _ => own_family(architecture),
    }
}

/// The family of the CPUs that are made for `architecture`.
pub(crate) fn own_family(architecture: &str) -> Option<&'static str> {
    families(architecture)?.first().copied()
}

/// Whether a host with a CPU of `family` may be a host of `architecture`.
pub(crate) fn is_family_of(family: &str, architecture: &str) -> bool {
    match families(architecture) {
        Some(families) if implied_by(family).is_some() => families.contains(&family),
        _ => true,
    }
}

fn families(architecture: &str) -> Option<&'static [&'static str]> {
    let known = FAMILIES.iter().find(|(known, _)| *known == architecture);
    known.map(|(_, families)| *families)
}

/// What `variant` asks of the CPU of a host of `architecture` (in Go's words).
pub(crate) fn level<'a>(architecture: &str, variant: &'a str) -> Level<'a> {
    let variant = variant.trim();
    if variant.is_empty() || architecture == "arm" {
        return Level::Any;
    }
    match cpu_of_variant(architecture, &lower(variant)) {
        Some(cpu) if baseline(architecture) == Some(&*cpu) => Level::Any,
        Some(cpu) => Level::Cpu(cpu),
        None => Level::Unknown(variant),
    }
}

/// The CPU name that `variant` of a host stands for, where it is one of
/// `architecture`, or of the one architecture with such variants.
pub(crate) fn cpu_of_host_variant(
    architecture: Option<&str>,
    variant: &str,
) -> Option<Cow<'static, str>> {
    let named = ["s390x", "riscv64", "ppc64le"];
    let candidates = architecture.map_or(&named[..], |_| &[]);
    let mut candidates = architecture.into_iter().chain(candidates.iter().copied());
    candidates.find_map(|candidate| match level(candidate, variant) {
        Level::Cpu(cpu) => Some(Cow::Owned(cpu.into_owned())),
        _ => None,
    })
}

/// The CPU name that a lower-case `variant` stands for.
fn cpu_of_variant(architecture: &str, variant: &str) -> Option<Cow<'static, str>> {
    let version = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match architecture {
        "amd64" if version == "1" => Some("x86_64".into()),
        "amd64" if digits(version) => Some(format!("x86_64_v{version}").into()),
        "arm64" if major == "8" && minor == "0" => Some("aarch64".into()),
        "arm64" if digits(major) && digits(minor) => Some(format!("armv{major}.{minor}a").into()),
        "ppc64le" | "ppc64" => {
            let generation = variant.strip_prefix("power")?;
            let generation = generation.strip_suffix("le").unwrap_or(generation);
            let suffix = architecture.strip_prefix("ppc64").unwrap_or_default();
            digits(generation).then(|| format!("power{generation}{suffix}").into())
        }
        "riscv64" if variant == "rva20u64" => Some("riscv64".into()),
        "riscv64" if variant.starts_with("rva") => Some(variant.to_owned().into()),
        "s390x" if variant.strip_prefix('z').is_some_and(digits) => Some(variant.to_owned().into()),
        _ => None,
    }
}

fn lower(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(architecture: &str, variant: &str) -> String {
        match level(architecture, variant) {
            Level::Cpu(name) => name.into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_variant_stands_for_a_cpu() {
        assert_eq!(cpu("amd64", "v3"), "x86_64_v3");
        assert_eq!(cpu("arm64", "v8.2"), "armv8.2a");
        assert_eq!(cpu("arm64", "v9"), "armv9.0a");
        assert_eq!(cpu("arm64", "v9.2"), "armv9.2a");
        assert_eq!(cpu("ppc64le", "power9"), "power9le");
        assert_eq!(cpu("ppc64", "power9"), "power9");
        assert_eq!(cpu("riscv64", "rva23u64"), "rva23u64");
        assert_eq!(cpu("s390x", "z15"), "z15");
    }

    #[test]
    fn a_variant_that_every_host_has_asks_nothing() {
        for (architecture, variant) in [
            ("amd64", "v1"),
            ("arm64", "v8"),
            ("arm64", "8"),
            ("ppc64le", "power8"),
            ("riscv64", "rva20u64"),
        ] {
            assert_eq!(level(architecture, variant), Level::Any, "{variant}");
        }
    }

    #[test]
    fn a_variant_of_32_bit_arm_asks_nothing_and_an_unknown_one_something() {
        assert_eq!(level("arm", "v7"), Level::Any);
        assert_eq!(level("amd64", ""), Level::Any);
        assert_eq!(level("mips64", "r6"), Level::Unknown("r6"));
        assert_eq!(level("amd64", "v3x"), Level::Unknown("v3x"));
    }

    #[test]
    fn clients_see_the_variant_of_32_bit_arm_only() {
        let platform = |architecture: &str, variant: &str| Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
            ..Platform::default()
        };
        let shown = |platform: &Platform| ClientPlatform::of(platform).to_string();

        assert_eq!(shown(&platform("amd64", "v3")), "linux/amd64");
        assert_eq!(shown(&platform("arm", "6")), "linux/arm/v6");
        assert_eq!(shown(&platform("arm", "")), "linux/arm/v7");
        assert_eq!(shown(&platform("aarch64", "v8")), "linux/arm64");
    }

    #[test]
    fn an_os_version_suits_by_its_build() {
        assert!(suits_os_version("10.0.20348.1", "10.0.20348.2031"));
        assert!(suits_os_version("10.0", "10.0.20348.1"));
        assert!(suits_os_version("10.0.20348.1", ""));
        assert!(!suits_os_version("10.0.20348.1", "10.0.17763.5"));
        assert!(!suits_os_version("10.0.20348.1", "ltsc2022"));
    }

    #[test]
    fn newer_windows_runs_builds_down_to_the_first_with_a_stable_interface() {
        let host = "10.0.26100.1742";

        assert!(runs_older_windows(host, "10.0.20348.2031"));
        assert!(runs_older_windows(host, "10.0.25398"));
        assert!(!runs_older_windows(host, "10.0.17763.5"));
        assert!(!runs_older_windows(host, "10.0.26200.1"));
        assert!(!runs_older_windows("10.0.19045.1", "10.0.17763.5"));
        assert!(!runs_older_windows(host, ""));
    }

    #[test]
    fn clients_do_not_see_requirements_in_os_features() {
        let platform = Platform {
            os_features: vec!["win32k".into(), "cpu:skylake".into()],
            ..Platform::default()
        };

        assert_eq!(ClientPlatform::of(&platform).os_features, ["win32k"]);
    }
}
