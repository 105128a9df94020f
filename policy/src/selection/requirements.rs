//! What an entry requires of a host.
//!
//! The union of `platform.features`, the `os.features` that have a namespace,
//! the level that `platform.variant` stands for, annotations, and the rules
//! that match, whose namespaces replace the entry's own.

use std::{borrow::Cow, collections::BTreeSet};

use crate::{
    CpuTable, Entry, Host, Rule,
    feature::{self, Feature},
    host::canonical,
    platform::{self, Level},
};

/// Requirements, separated by commas.
const FEATURES: &str = "io.metahub.features";

/// Marks an entry that is compressed with zstd, as containers' tools write it.
const ZSTD: &str = "io.github.containers.compression.zstd";

/// A CPU name, as the supercontainers project writes it.
const MICROARCH: &str = "org.supercontainers.hardware.cpu.target.microarch";

/// What an entry requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirements<'a> {
    /// By rank of their namespaces and value, without repetitions.
    values: Vec<Requirement<'a>>,
    /// The CPU name that `platform.variant` stands for. It is required besides
    /// the `cpu` values, of which any suffices.
    pub(crate) level: Option<Cow<'a, str>>,
}

/// One required value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirement<'a> {
    pub(crate) namespace: Cow<'a, str>,
    /// In its one spelling.
    pub(crate) value: String,
}

impl<'a> Requirements<'a> {
    /// Reads the requirements of `entry` with the `rules` that match it.
    pub(crate) fn of(entry: &'a Entry, rules: &[&'a Rule], cpus: &CpuTable) -> Self {
        let stated = rules.iter().filter(|rule| rule.matches(entry));
        let stated: Vec<_> = stated
            .flat_map(|rule| rule.requires.iter().filter_map(|text| Feature::parse(text)))
            .collect();
        let replaced =
            |namespace: &str| stated.iter().any(|feature| feature.namespace == namespace);
        let own = own(entry).filter(|feature| !replaced(&feature.namespace));
        let mut values: Vec<_> = own.map(|feature| Requirement::new(feature, cpus)).collect();

        let level = match entry.platform.as_ref() {
            Some(own) => {
                platform::level(&platform::architecture(&own.architecture).0, &own.variant)
            }
            None => Level::Any,
        };
        let level = match level {
            Level::Cpu(cpu) if !replaced(feature::CPU) => Some(cpu),
            Level::Unknown(value) if !replaced(feature::VARIANT) => {
                values.push(Requirement {
                    namespace: Cow::Borrowed(feature::VARIANT),
                    value: value.to_owned(),
                });
                None
            }
            _ => None,
        };
        values.extend(
            stated
                .into_iter()
                .map(|feature| Requirement::new(feature, cpus)),
        );
        values.sort_by(|a, b| a.key().cmp(&b.key()));
        values.dedup();
        Self { values, level }
    }

    /// The values, namespace by namespace in ranking order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Requirement<'a>]> {
        self.values.chunk_by(|a, b| a.namespace == b.namespace)
    }

    /// The values of one namespace.
    pub(crate) fn group(&self, namespace: &str) -> &[Requirement<'a>] {
        let group = self.groups().find(|group| group[0].namespace == namespace);
        group.unwrap_or_default()
    }

    /// Whether nothing is required that not every host of the platform has.
    pub(crate) fn is_generic(&self) -> bool {
        self.values.is_empty() && self.level.is_none()
    }

    /// Whether they are exactly what `host` has. A level that the required CPUs
    /// imply adds nothing.
    pub(crate) fn equal(&self, host: &Host) -> bool {
        let values = self.values.iter();
        let mut required: BTreeSet<(&str, &str)> = values
            .map(|requirement| (requirement.namespace.as_ref(), requirement.value.as_str()))
            .collect();
        if let Some(level) = self
            .level
            .as_deref()
            .filter(|level| !self.implies(level, host.cpus()))
        {
            required.insert((feature::CPU, level));
        }
        required == host.features().collect()
    }

    fn implies(&self, level: &str, cpus: &CpuTable) -> bool {
        let runs = |cpu: &Requirement<'_>| match (cpus.find(&cpu.value), cpus.find(level)) {
            (Some(cpu), Some(level)) => cpus.runs(cpu, level),
            _ => cpu.value == level,
        };
        let named = self.group(feature::CPU);
        !named.is_empty() && named.iter().all(runs)
    }

    /// Each as people write it, the level as the CPU that it stands for.
    pub(crate) fn texts(&self) -> Vec<String> {
        let spelt = |requirement: &Requirement<'_>| {
            feature::spell(&requirement.namespace, &requirement.value)
        };
        let mut texts: Vec<_> = self.values.iter().map(spelt).collect();
        if let Some(level) = &self.level {
            let text = feature::spell(feature::CPU, level);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }
}

impl<'a> Requirement<'a> {
    fn new(feature: Feature<'a>, cpus: &CpuTable) -> Self {
        let value = canonical(&feature, cpus);
        Self {
            namespace: feature.namespace,
            value,
        }
    }

    fn key(&self) -> (usize, &str, &str) {
        (
            feature::order(&self.namespace),
            &self.namespace,
            &self.value,
        )
    }
}

impl Entry {
    /// What a host needs for this entry, each in its one spelling, by rank of
    /// the namespaces: the entry's own statements with those of the `rules`
    /// that match it. Values of `cpu`, `nvcap` and `gfx` are alternatives.
    pub fn requirements(&self, rules: &[&Rule], cpus: &CpuTable) -> Vec<String> {
        Requirements::of(self, rules, cpus).texts()
    }

    /// The author's priority: 0 when there is none or it is no integer.
    pub fn priority(&self) -> i64 {
        let priority = self.annotation("io.metahub.priority");
        priority.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Whether it is marked as compressed with zstd, which not every client
    /// reads.
    pub(crate) fn is_zstd(&self) -> bool {
        self.annotation(ZSTD) == Some("true")
    }
}

/// What the entry itself states.
fn own(entry: &Entry) -> impl Iterator<Item = Feature<'_>> {
    let platform = entry.platform.iter();
    let features = platform.clone().flat_map(|platform| &platform.features);
    let namespaced = platform
        .flat_map(|platform| &platform.os_features)
        .filter(|text| platform::is_requirement(text));
    let listed = entry
        .annotation(FEATURES)
        .into_iter()
        .flat_map(|list| list.split(','));
    let microarch = entry.annotation(MICROARCH).into_iter();
    let microarch = microarch
        .flat_map(|list| list.split(','))
        .map(|name| Feature {
            namespace: Cow::Borrowed(feature::CPU),
            value: name.trim(),
        });
    let texts = features.chain(namespaced).map(String::as_str).chain(listed);
    texts.filter_map(Feature::parse).chain(microarch)
}
