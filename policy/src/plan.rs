//! Plans machine types for hosts: the fewest types that describe them all.
//!
//! Hosts with equal values in the namespaces of [`PlanRules::by`] form one
//! type. In every other namespace a type has the values that all of its hosts
//! have, and the lowest of their minimum versions: a type has no feature that
//! one of its hosts lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::{
    CpuTable, MachineType,
    feature::{self, Feature, Meaning},
    host::canonical,
    platform,
    version::Version,
};

mod inventory;
mod labels;
mod name;
mod slices;

pub use self::inventory::{InvalidInventory, Inventory, list_names, read_inventory};

/// A host to plan for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedHost {
    /// The host's name in the plan, for example `node17`.
    pub name: String,
    /// The operating system. Empty: `linux`.
    pub os: String,
    /// The architecture in Go's spelling. Empty: implied by the CPU, or
    /// unknown.
    pub architecture: String,
    /// The host's features, for example `cpu:zen4`.
    pub features: Vec<String>,
}

/// The rules that group hosts into types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRules {
    /// The namespaces whose values separate types.
    pub by: Vec<String>,
    /// True if minimum versions separate types, too.
    pub exact_floors: bool,
    /// A type with fewer hosts than this is marked as small.
    pub min_hosts: usize,
}

/// The types for some hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The types, sorted by number of hosts, most first.
    pub types: Vec<PlannedType>,
    /// Features that no type can have, with the reason and the first host.
    pub ignored: Vec<IgnoredFeature>,
}

/// A type with its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedType {
    /// The type's name, unique in the plan.
    pub name: String,
    /// The features that all of its hosts have.
    pub machine_type: MachineType,
    /// The names of its hosts, in the order of the input.
    pub hosts: Vec<String>,
    /// Its minimum versions.
    pub floors: Vec<PlannedFloor>,
    /// True if the type has fewer than [`PlanRules::min_hosts`] hosts.
    pub small: bool,
}

/// A minimum version of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFloor {
    /// The version's namespace, for example `nvdrv`.
    pub namespace: String,
    /// The lowest version of the type's hosts. The type has it if each host
    /// reports a version.
    pub least: String,
    /// The highest version of the type's hosts.
    pub most: String,
    /// The hosts with the lowest version, if they are the minority: without
    /// them the type's minimum would be higher.
    pub held_back_by: Vec<String>,
    /// The hosts without a version: because of them the type has no minimum.
    pub untold_by: Vec<String>,
}

/// A feature that the plan leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IgnoredFeature {
    /// The first host with the feature.
    pub host: String,
    /// The number of hosts with the feature.
    pub hosts: usize,
    /// The reason.
    pub reason: String,
}

impl Default for PlanRules {
    fn default() -> Self {
        Self {
            by: ["cpu", "nvcap", "gfx", "net"].map(String::from).to_vec(),
            exact_floors: false,
            min_hosts: 2,
        }
    }
}

type Features = BTreeMap<String, BTreeSet<String>>;

/// The values that the hosts of one type share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    os: String,
    architecture: Option<String>,
    features: Features,
}

/// A host with its features by namespace, in canonical spelling.
struct Read<'a> {
    host: &'a PlannedHost,
    features: Features,
}

/// Plans types for `hosts`.
pub fn plan(hosts: &[PlannedHost], rules: &PlanRules, cpus: &CpuTable) -> Plan {
    let mut reader = Reader::new(cpus);
    let mut groups: BTreeMap<Key, Vec<Read<'_>>> = BTreeMap::new();
    for host in hosts {
        let read = reader.read(host);
        groups.entry(read.key(rules, cpus)).or_default().push(read);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
    let mut taken = HashSet::new();
    let types = groups.into_iter().map(|(key, hosts)| {
        let name = name::unique(&key, &mut taken);
        planned_type(name, key, &hosts, rules)
    });
    Plan {
        types: types.collect(),
        ignored: reader.ignored.into_values().collect(),
    }
}

impl Read<'_> {
    fn key(&self, rules: &PlanRules, cpus: &CpuTable) -> Key {
        let tells_apart = |namespace: &str| {
            let exact = rules.exact_floors && is_floor(namespace);
            exact || rules.by.iter().any(|by| by == namespace)
        };
        let features = self.features.iter();
        let features = features.filter(|(namespace, _)| tells_apart(namespace));
        let features: Features = features.map(|(a, b)| (a.clone(), b.clone())).collect();
        let cpu = features.get(feature::CPU).into_iter().flatten();
        let implied = cpu.into_iter().any(|name| cpus.contains(name));
        let (architecture, _) = platform::architecture(&self.host.architecture);
        let told = !implied && !architecture.is_empty();
        Key {
            os: match self.host.os.as_str() {
                "" => "linux".to_owned(),
                os => platform::os(os).into_owned(),
            },
            architecture: told.then(|| architecture.into_owned()),
            features,
        }
    }
}

/// Reads features, each spelling once.
struct Reader<'a> {
    cpus: &'a CpuTable,
    /// Namespace and value of a feature, or the reason that no type can have
    /// it.
    known: HashMap<String, Result<(String, String), String>>,
    ignored: BTreeMap<String, IgnoredFeature>,
}

impl<'a> Reader<'a> {
    fn new(cpus: &'a CpuTable) -> Self {
        Self {
            cpus,
            known: HashMap::new(),
            ignored: BTreeMap::new(),
        }
    }

    fn read<'h>(&mut self, host: &'h PlannedHost) -> Read<'h> {
        let mut features = Features::new();
        for text in &host.features {
            if !self.known.contains_key(text) {
                self.known.insert(text.clone(), parse(text, self.cpus));
            }
            match &self.known[text] {
                Ok((namespace, value)) => {
                    let values = features.entry(namespace.clone()).or_default();
                    values.insert(value.clone());
                }
                Err(reason) => {
                    let ignored = self.ignored.entry(reason.clone());
                    let ignored = ignored.or_insert_with(|| IgnoredFeature {
                        host: host.name.clone(),
                        hosts: 0,
                        reason: reason.clone(),
                    });
                    ignored.hosts += 1;
                }
            }
        }
        Read { host, features }
    }
}

fn parse(text: &str, cpus: &CpuTable) -> Result<(String, String), String> {
    let alone = MachineType {
        features: vec![text.to_owned()],
        ..MachineType::default()
    };
    alone.check(cpus).map_err(|error| error.to_string())?;
    let feature = Feature::parse(text).ok_or("a feature is empty")?;
    let value = canonical(&feature, cpus);
    Ok((feature.namespace.into_owned(), value))
}

fn planned_type(name: String, key: Key, hosts: &[Read<'_>], rules: &PlanRules) -> PlannedType {
    let namespaces: BTreeSet<_> = hosts.iter().flat_map(|it| it.features.keys()).collect();
    let rest = namespaces.into_iter();
    let rest = rest.filter(|namespace| !key.features.contains_key(*namespace));
    let (floors, others): (Vec<_>, Vec<_>) = rest.partition(|namespace| is_floor(namespace));
    let mut features = key.features;
    for namespace in others {
        features.insert(namespace.clone(), shared(namespace, hosts));
    }
    let floors: Vec<_> = floors.iter().map(|it| floor(it, hosts)).collect();
    for floor in floors.iter().filter(|floor| floor.untold_by.is_empty()) {
        let least = BTreeSet::from([floor.least.clone()]);
        features.insert(floor.namespace.clone(), least);
    }
    PlannedType {
        name,
        machine_type: MachineType {
            os: key.os,
            architecture: key.architecture,
            features: spelled(features),
            ..MachineType::default()
        },
        hosts: hosts.iter().map(|it| it.host.name.clone()).collect(),
        floors,
        small: hosts.len() < rules.min_hosts,
    }
}

/// The values in `namespace` that all hosts have.
fn shared(namespace: &str, hosts: &[Read<'_>]) -> BTreeSet<String> {
    let mut values = hosts.iter().map(|host| host.features.get(namespace));
    let first = values.next().flatten().cloned().unwrap_or_default();
    values.fold(first, |shared, own| match own {
        Some(own) => shared.intersection(own).cloned().collect(),
        None => BTreeSet::new(),
    })
}

fn floor(namespace: &str, hosts: &[Read<'_>]) -> PlannedFloor {
    let mut told = Vec::new();
    let mut untold_by = Vec::new();
    for host in hosts {
        // The highest version counts if a host reports several.
        let values = host.features.get(namespace).into_iter().flatten();
        let versions = values.filter_map(|text| Some((Version::parse(text)?, text.as_str())));
        match versions.max() {
            Some((version, text)) => told.push((version, text, &host.host.name)),
            None => untold_by.push(host.host.name.clone()),
        }
    }
    let least = told.iter().map(|(version, ..)| version).min();
    let holding = told.iter().filter(|(version, ..)| Some(version) == least);
    let mut held_back_by: Vec<_> = holding.map(|(.., name)| name.to_string()).collect();
    if held_back_by.len() * 2 > told.len() {
        held_back_by.clear();
    }
    let text = |it: Option<&(Version, &str, &String)>| it.map(|(_, text, _)| text.to_string());
    PlannedFloor {
        namespace: namespace.to_owned(),
        least: text(told.iter().min()).unwrap_or_default(),
        most: text(told.iter().max()).unwrap_or_default(),
        held_back_by,
        untold_by,
    }
}

/// The features in the order of ranking.
fn spelled(features: Features) -> Vec<String> {
    let mut features: Vec<_> = features.into_iter().collect();
    features.sort_by_key(|(namespace, _)| feature::order(namespace));
    let spell = |(namespace, values): (String, BTreeSet<String>)| {
        let values = values.into_iter();
        let texts = values.map(move |value| feature::spell(&namespace, &value));
        texts.collect::<Vec<_>>()
    };
    features.into_iter().flat_map(spell).collect()
}

fn is_floor(namespace: &str) -> bool {
    feature::meaning(namespace) == Meaning::Floor
}

#[cfg(test)]
mod tests;
