//! Reads lists of hosts: the output of `kubectl get nodes -o json` and `kubectl
//! get resourceslices -o json`, together or one after the other, and of
//! `metahubctl host detect -o json`.
//!
//! Skips an unreadable entry with a warning and reads the others.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Deserializer, value::RawValue};

use super::{
    PlannedHost,
    labels::{LabelReader, Labels},
    slices::{self, Slice},
};
use crate::CpuTable;

/// Maximum number of names in one warning.
const MOST_NAMES: usize = 5;
/// Maximum length of a displayed host name, in characters.
const LONGEST_NAME: usize = 253;

/// The hosts of a list, with warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The hosts, in the order of the first entry for each.
    pub hosts: Vec<PlannedHost>,
    /// Warnings about missing and unreadable entries, as sentences.
    pub warnings: Vec<String>,
}

/// The reason that a text is no list of hosts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInventory {
    /// The text is not JSON.
    #[error("not JSON: give what `kubectl get nodes -o json` prints")]
    Json {
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// The text has no entry for a host.
    #[error(
        "no host: give what `kubectl get nodes -o json`, `kubectl get resourceslices -o json` or \
         `metahubctl host detect -o json` prints; this is {found}"
    )]
    NoHosts {
        /// The entries of the text.
        found: String,
    },
}

/// A list, one object of Kubernetes, or a detected host.
#[derive(Deserialize)]
struct Document<'a> {
    kind: Option<String>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    features: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "nodeInfo")]
    node_info: NodeInfo,
    /// Resources of device plugins.
    capacity: BTreeMap<String, serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeInfo {
    pub(super) architecture: String,
    pub(super) kernel_version: String,
    pub(super) operating_system: String,
}

/// The name of an object that cannot be read otherwise.
#[derive(Deserialize)]
struct Named {
    metadata: NameAlone,
}

#[derive(Deserialize)]
struct NameAlone {
    name: String,
}

/// The output of `metahubctl host detect`. Scripts may add the host's name.
#[derive(Deserialize)]
struct Detected {
    #[serde(default, alias = "host_id", alias = "hostname", alias = "id")]
    host: Option<String>,
    features: Vec<String>,
}

/// Reads a list of hosts.
pub fn read_inventory(bytes: &[u8], cpus: &CpuTable) -> Result<Inventory, InvalidInventory> {
    let mut reader = Reader::new(cpus);
    for document in Deserializer::from_slice(bytes).into_iter::<&RawValue>() {
        let document = document.map_err(|source| InvalidInventory::Json { source })?;
        reader.document(document);
    }
    reader.finish()
}

struct Reader<'a> {
    labels: LabelReader<'a>,
    hosts: Vec<PlannedHost>,
    /// The index of a node in `hosts`, by name.
    nodes: HashMap<String, usize>,
    /// The number of entries of other kinds.
    others: BTreeMap<String, usize>,
    unread: Vec<String>,
    unnamed_slices: usize,
    /// Warnings, each with the names of its hosts.
    about: BTreeMap<&'static str, Vec<String>>,
}

impl<'a> Reader<'a> {
    fn new(cpus: &'a CpuTable) -> Self {
        Self {
            labels: LabelReader::new(cpus),
            hosts: Vec::new(),
            nodes: HashMap::new(),
            others: BTreeMap::new(),
            unread: Vec::new(),
            unnamed_slices: 0,
            about: BTreeMap::new(),
        }
    }

    fn document(&mut self, text: &RawValue) {
        let Ok(document) = serde_json::from_str::<Document<'_>>(text.get()) else {
            return self.count("a value that is no object");
        };
        let kind = document.kind.as_deref().unwrap_or_default();
        match (document.items, document.features) {
            (Some(items), _) => {
                let of_list = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
                for item in items {
                    self.item(item, of_list);
                }
            }
            (None, Some(_)) if kind.is_empty() => self.detected(text),
            (None, _) => self.item(text, None),
        }
    }

    /// Reads one object. Without a kind of its own, it has the list's.
    fn item(&mut self, text: &RawValue, of_list: Option<&str>) {
        let document = serde_json::from_str::<Document<'_>>(text.get()).ok();
        let kind = document.and_then(|document| document.kind);
        let kind = kind.as_deref().or(of_list);
        let read = match kind {
            Some("Node") => serde_json::from_str(text.get()).map(|node| self.node(node)),
            Some("ResourceSlice") => {
                serde_json::from_str(text.get()).map(|slice| self.slice(&slice))
            }
            Some(other) => return self.count(other),
            None => return self.count("an object without a kind"),
        };
        if let Err(error) = read {
            let named = serde_json::from_str::<Named>(text.get());
            let name = named.map_or("without a name".into(), |it| shown(&it.metadata.name));
            let kind = kind.unwrap_or_default();
            self.unread.push(format!(
                "{kind} {name} cannot be read, and is left out: {error}"
            ));
        }
    }

    fn node(&mut self, node: Node) {
        let name = shown(&node.metadata.name);
        let read = self.labels.read(
            &node.metadata.labels,
            &node.status.node_info,
            node.status.capacity.keys().map(String::as_str),
        );
        for warning in read.warnings {
            self.about.entry(warning).or_default().push(name.clone());
        }
        self.nodes.insert(name.clone(), self.hosts.len());
        self.hosts.push(PlannedHost {
            name,
            os: read.os,
            architecture: read.architecture,
            features: read.features,
        });
    }

    fn slice(&mut self, slice: &Slice) {
        let Some(node) = slice.node() else {
            self.unnamed_slices += 1;
            return;
        };
        let name = shown(node);
        let place = match self.nodes.get(&name) {
            Some(place) => *place,
            None => {
                self.nodes.insert(name.clone(), self.hosts.len());
                self.hosts.push(PlannedHost {
                    name,
                    ..PlannedHost::default()
                });
                self.hosts.len() - 1
            }
        };
        // Labels describe one GPU of a node, slices describe all.
        let told = slices::features(slice);
        let host = &mut self.hosts[place];
        for feature in told {
            if !host.features.contains(&feature) {
                host.features.push(feature);
            }
        }
    }

    fn detected(&mut self, text: &RawValue) {
        let place = self.hosts.len() + 1;
        match serde_json::from_str::<Detected>(text.get()) {
            Ok(detected) => self.hosts.push(PlannedHost {
                name: match detected.host {
                    Some(name) => shown(&name),
                    None => format!("host {place}"),
                },
                features: detected.features,
                ..PlannedHost::default()
            }),
            Err(error) => self.unread.push(format!(
                "host {place} cannot be read, and is left out: {error}"
            )),
        }
    }

    fn count(&mut self, kind: &str) {
        *self.others.entry(shown(kind)).or_default() += 1;
    }

    fn finish(mut self) -> Result<Inventory, InvalidInventory> {
        let others = self.others.iter();
        let others: Vec<_> = others.map(|(kind, n)| format!("{n} × {kind}")).collect();
        let left_out = self.unread.len();
        if self.hosts.is_empty() {
            let found = match (others.as_slice(), self.unread.pop()) {
                ([], None) => "empty".to_owned(),
                ([], Some(first)) => first,
                (some, _) => some.join(", "),
            };
            return Err(InvalidInventory::NoHosts { found });
        }
        let mut warnings = self.unread;
        if left_out > MOST_NAMES {
            warnings.truncate(MOST_NAMES);
            warnings.push(format!("{} more cannot be read", left_out - MOST_NAMES));
        }
        if !others.is_empty() {
            warnings.push(format!(
                "left out, since these are no hosts: {}",
                others.join(", ")
            ));
        }
        if self.unnamed_slices > 0 {
            let count = self.unnamed_slices;
            warnings.push(format!(
                "{count} ResourceSlices are of no node, and are left out"
            ));
        }
        let about = self.about.iter();
        warnings.extend(about.map(|(text, names)| format!("{}: {text}", list_names(names))));
        Ok(Inventory {
            hosts: self.hosts,
            warnings,
        })
    }
}

/// The first of `names`, and the number of the others.
pub fn list_names(names: &[String]) -> String {
    let first = names.iter().take(MOST_NAMES).cloned();
    let first: Vec<_> = first.collect();
    match names.len().saturating_sub(MOST_NAMES) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A name, safe to print on a terminal.
fn shown(name: &str) -> String {
    let shown = name.chars().filter(|c| !c.is_control());
    shown.take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests;
