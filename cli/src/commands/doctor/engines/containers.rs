//! podman, buildah, skopeo and CRI-O: registries.conf and its drop-ins
//! (containers-registries.conf(5), containers-registries.conf.d(5)).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    super::{files::Root, finding::Finding},
    docker::logins,
    route::{Addresses, Place, Remedy, Route, Way, shown},
};
use crate::engine_files::{PODMAN_LOGINS, REGISTRIES as CONFIG, REGISTRIES_DROP_INS as DROP_INS};

const CHECK: &str = "podman";
/// Root's own file, which replaces both.
const OF_ROOT: &str = "/root/.config/containers/registries.conf";
/// Root's login files: the one lost at reboot, and the permanent one.
const LOGINS: [&str; 2] = ["/run/containers/0/auth.json", PODMAN_LOGINS];
const CONFIGURE: &str = "metahubctl client-config podman --out /";
const REMEDY: Remedy<'_> = Remedy {
    check: CHECK,
    configure: CONFIGURE,
    unenforceable: None,
};

pub(super) fn check(root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in LOGINS {
        findings.extend(logins(root, addresses, CHECK, path));
    }
    for (prefix, (path, registry)) in registries(root, &mut findings) {
        let route = route(&prefix, &path, &registry);
        let Some(judged) = route.judge(addresses, &REMEDY) else {
            continue;
        };
        findings.push(judged);
        let found = route
            .places
            .iter()
            .filter_map(|it| addresses.way(&it.address));
        ways.extend(found);
        findings.extend(plain(&path, &registry, addresses));
    }
    if !findings.is_empty() && root.exists(OF_ROOT) {
        let what = format!("{OF_ROOT} takes the place of {CONFIG} where root runs podman");
        let next = format!("remove {OF_ROOT}, or write MetaHub into it");
        findings.push(Finding::warn(CHECK, what, next));
    }
    findings
}

/// The tables by prefix, each with its file. A later file takes precedence.
fn registries(root: &Root, findings: &mut Vec<Finding>) -> BTreeMap<String, (String, Table)> {
    let drop_ins = root.names(DROP_INS).unwrap_or_default();
    let drop_ins = drop_ins.into_iter().filter(|it| it.ends_with(".conf"));
    let drop_ins = drop_ins.map(|it| format!("{DROP_INS}/{it}"));
    let mut registries = BTreeMap::new();
    for path in [CONFIG.to_owned()].into_iter().chain(drop_ins) {
        let Some(text) = root.optional(CHECK, &path, findings) else {
            continue;
        };
        let Ok(config) = text.parse::<Table>() else {
            let what = format!("{path} is no TOML: podman, buildah, skopeo and CRI-O fail with it");
            findings.push(Finding::fail(CHECK, what, CONFIGURE));
            continue;
        };
        let tables = config.get("registry").and_then(Value::as_array);
        for table in tables.into_iter().flatten().filter_map(Value::as_table) {
            let prefix = text_of(table, "prefix").or_else(|| text_of(table, "location"));
            let Some(prefix) = prefix else { continue };
            registries.insert(prefix.to_owned(), (path.clone(), table.clone()));
        }
    }
    registries
}

fn text_of<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    let text = table.get(key)?.as_str()?;
    Some(text).filter(|it| !it.is_empty())
}

fn route(prefix: &str, path: &str, registry: &Table) -> Route {
    let by_digest = registry
        .get("mirror-by-digest-only")
        .and_then(Value::as_bool);
    let mirrors = mirrors(registry).into_iter().map(|mirror| Place {
        address: text_of(mirror, "location").unwrap_or_default().to_owned(),
        resolves: by_digest != Some(true)
            && text_of(mirror, "pull-from-mirror") != Some("digest-only"),
    });
    let location = Place::new(text_of(registry, "location").unwrap_or(prefix));
    // podman asks neither a blocked registry nor its mirrors.
    Route {
        registry: prefix.to_owned(),
        file: path.to_owned(),
        places: mirrors.chain([location]).collect(),
    }
}

fn mirrors(registry: &Table) -> Vec<&Table> {
    let mirrors = registry.get("mirror").and_then(Value::as_array);
    let mirrors = mirrors.into_iter().flatten();
    mirrors.filter_map(Value::as_table).collect()
}

/// Finds a place with plain HTTP, which podman accepts only with `insecure`.
fn plain(path: &str, registry: &Table, addresses: &Addresses) -> Option<Finding> {
    let is_plain = |way: Way| {
        let url = match way {
            Way::Node => addresses.node.as_ref(),
            Way::Registry => addresses.registry.as_ref(),
        };
        url.is_some_and(|it| it.scheme() == "http")
    };
    let places = mirrors(registry).into_iter().chain([registry]);
    let is_refused = |table: &&Table| {
        let location = text_of(table, "location").unwrap_or_default();
        let insecure = table.get("insecure").and_then(Value::as_bool);
        addresses.way(location).is_some_and(is_plain) && insecure != Some(true)
    };
    let place = places.into_iter().find(is_refused)?;
    let location = shown(text_of(place, "location").unwrap_or_default());
    let what = format!(
        "{path}: {location} speaks plain HTTP, and podman takes that only with insecure = true"
    );
    Some(Finding::fail(CHECK, what, CONFIGURE))
}
