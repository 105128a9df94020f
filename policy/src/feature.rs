//! Features and requirements as text: `namespace:value`, or a CPU flag alone.

use std::borrow::Cow;

/// Longest feature, in bytes.
pub(crate) const MAX_FEATURE: usize = 128;

/// The namespace of CPU microarchitectures.
pub(crate) const CPU: &str = "cpu";
/// The namespace of CPU flags, which may be left out.
pub(crate) const ISA: &str = "isa";
/// The namespace of NVIDIA compute capabilities.
pub(crate) const NVCAP: &str = "nvcap";
/// The namespace of AMD GPU targets.
pub(crate) const GFX: &str = "gfx";
/// The namespace of a `platform.variant` that is no known level.
pub(crate) const VARIANT: &str = "variant";

/// The namespace of selectors that name a platform.
pub(crate) const ARCH: &str = "arch";

/// Namespaces whose order in ranking is fixed; the others follow from A to Z.
const RANKED: [&str; 6] = [NVCAP, GFX, CPU, ISA, "cuda", "rocm"];

/// Namespaces whose values are minimum versions.
const FLOORS: [&str; 5] = ["cuda", "rocm", "nvdrv", "glibc", "kernel"];

/// A feature that a host has or a variant requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feature<'a> {
    /// In lower case where MetaHub knows it, else as written.
    pub(crate) namespace: Cow<'a, str>,
    pub(crate) value: &'a str,
}

/// How the values of a namespace are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Cpu,
    Isa,
    Nvcap,
    Gfx,
    Floor,
    Opaque,
}

impl<'a> Feature<'a> {
    /// Reads a feature. `None` for an empty text.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (namespace, value) = match text.split_once(':') {
            Some((namespace, value)) => (known(namespace.trim()), value.trim()),
            None => (Cow::Borrowed(ISA), text),
        };
        (!text.is_empty()).then_some(Self { namespace, value })
    }
}

/// What the values of `namespace` mean.
pub(crate) fn meaning(namespace: &str) -> Meaning {
    match namespace {
        CPU => Meaning::Cpu,
        ISA => Meaning::Isa,
        NVCAP => Meaning::Nvcap,
        GFX => Meaning::Gfx,
        other if FLOORS.contains(&other) => Meaning::Floor,
        _ => Meaning::Opaque,
    }
}

/// The place of `namespace` in ranking; equal ones go by name.
pub(crate) fn order(namespace: &str) -> usize {
    let place = RANKED.iter().position(|ranked| *ranked == namespace);
    place.unwrap_or(RANKED.len())
}

/// `namespace:value` as people write it: a CPU flag stands alone.
pub(crate) fn spell(namespace: &str, value: &str) -> String {
    match namespace {
        ISA => value.to_owned(),
        _ => format!("{namespace}:{value}"),
    }
}

/// What is wrong with the spelling of `feature`, and what to write instead.
pub(crate) fn misspelt(feature: &str) -> Option<&'static str> {
    if feature.is_empty() {
        return Some("is empty; write `namespace:value`, for example `cpu:skylake`, or a CPU flag");
    }
    if feature.len() > MAX_FEATURE {
        return Some("is longer than 128 bytes; write a shorter value");
    }
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == ',';
    if feature.contains(unfit) {
        return Some(
            "holds a blank, a comma or a control character; write each feature on its own as `namespace:value`",
        );
    }
    match feature.split_once(':') {
        Some(("", _)) => Some("has no namespace; write `namespace:value`, or a CPU flag alone"),
        Some((_, "")) => Some("has no value; write `namespace:value`, for example `cpu:skylake`"),
        _ => None,
    }
}

fn known(namespace: &str) -> Cow<'_, str> {
    let listed = RANKED.iter().chain(&FLOORS);
    match listed
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(namespace))
    {
        Some(known) => Cow::Borrowed(*known),
        None => Cow::Borrowed(namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_namespace_is_a_cpu_flag() {
        let flag = Feature::parse("avx2").unwrap();

        assert_eq!((flag.namespace.as_ref(), flag.value), (ISA, "avx2"));
        assert_eq!(Feature::parse("isa:avx2"), Some(flag));
    }

    #[test]
    fn only_the_first_colon_ends_the_namespace() {
        let target = Feature::parse("gfx:gfx90a:xnack+").unwrap();

        assert_eq!(target.value, "gfx90a:xnack+");
    }

    #[test]
    fn known_namespaces_are_read_in_any_case_and_others_as_written() {
        assert_eq!(Feature::parse("CPU:zen3").unwrap().namespace, CPU);
        assert_eq!(Feature::parse("instType:c5").unwrap().namespace, "instType");
    }

    #[test]
    fn misspelt_features_are_told_what_to_write() {
        for feature in [
            "",
            "cpu:",
            ":x",
            "cpu:a b",
            "cpu:a,b",
            "a\nb",
            &"x".repeat(129),
        ] {
            assert!(misspelt(feature).is_some(), "{feature:?}");
        }
        for feature in [
            "avx2",
            "sse4.1",
            "cpu:zen4",
            "gfx:gfx90a:xnack+",
            "net:efa/v2",
        ] {
            assert_eq!(misspelt(feature), None, "{feature:?}");
        }
    }
}
