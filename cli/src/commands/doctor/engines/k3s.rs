//! k3s and RKE2: they generate containerd's files from registries.yaml. The
//! last place is the registry itself, unless a flag disables it; the embedded
//! registry mirror is spegel, and comes first.

use serde_json::Value;

use super::{
    super::{files::Root, finding::Finding},
    route::{Addresses, Place, Remedy, Route, Way},
};
use crate::engine_files::{K3S, RKE2};

const CHECK: &str = "k3s";
const CONFIGURE: &str = "metahubctl client-config k3s --out /";
const REMEDY: Remedy<'_> = Remedy {
    check: CHECK,
    configure: CONFIGURE,
    unenforceable: Some(
        "set disable-default-registry-endpoint: true in config.yaml of every node, and restart it",
    ),
};

pub(super) fn check(root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for directory in [K3S, RKE2] {
        findings.extend(within(directory, root, addresses, ways));
    }
    findings
}

fn within(
    directory: &str,
    root: &Root,
    addresses: &Addresses,
    ways: &mut Vec<Way>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = format!("{directory}/registries.yaml");
    let Some(text) = root.optional(CHECK, &path, &mut findings) else {
        return findings;
    };
    let Ok(registries) = serde_saphyr::from_str::<Value>(&text) else {
        let what = format!("{path} is no YAML: k3s does not start with it");
        findings.push(Finding::fail(CHECK, what, CONFIGURE));
        return findings;
    };
    let config = settings(directory, root);
    let is_set = |key: &str| config.iter().any(|it| it[key] == true || it[key] == "true");
    let mirrors = registries["mirrors"].as_object();
    for (name, mirror) in mirrors.into_iter().flatten() {
        let endpoints = mirror["endpoint"].as_array();
        let endpoints = endpoints.into_iter().flatten().filter_map(Value::as_str);
        let mut places: Vec<Place> = endpoints.map(Place::new).collect();
        if is_set("embedded-registry") {
            places.insert(0, Place::new("k3s's embedded registry mirror (spegel)"));
        }
        if !is_set("disable-default-registry-endpoint") {
            places.push(Place::new(match name.as_str() {
                "*" => "the registry itself",
                name => name,
            }));
        }
        let route = Route {
            registry: match name.as_str() {
                "*" => "all registries".into(),
                name => name.into(),
            },
            file: path.clone(),
            places,
        };
        let found = route
            .places
            .iter()
            .filter_map(|it| addresses.way(&it.address));
        ways.extend(found);
        findings.extend(route.judge(addresses, &REMEDY));
    }
    findings
}

/// The node's settings: the file, then its drop-ins.
fn settings(directory: &str, root: &Root) -> Vec<Value> {
    let drop_ins = format!("{directory}/config.yaml.d");
    let names = root.names(&drop_ins).unwrap_or_default();
    let names = names.into_iter().filter(|it| it.ends_with(".yaml"));
    let paths = names.map(|it| format!("{drop_ins}/{it}"));
    let paths = [format!("{directory}/config.yaml")]
        .into_iter()
        .chain(paths);
    let texts = paths.filter_map(|it| root.read(&it).ok());
    texts
        .filter_map(|it| serde_saphyr::from_str(&it).ok())
        .collect()
}
