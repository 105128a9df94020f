//! buildkitd: mirrors in buildkitd.toml. buildkitd sends no login to mirrors,
//! and always falls back to the registry (buildkit's docs/buildkitd.toml.md).

use toml::{Table, Value};

use super::{
    super::{files::Root, finding::Finding},
    route::{Addresses, Place, Remedy, Route, Way},
};
use crate::engine_files::BUILDKIT_CONFIG as CONFIG;

const CHECK: &str = "buildkit";
const CONFIGURE: &str = "metahubctl client-config buildkit --out /";
const REMEDY: Remedy<'_> = Remedy {
    check: CHECK,
    configure: CONFIGURE,
    unenforceable: Some(
        "buildkitd cannot be kept from the registry: name images by MetaHub's address where a refusal has to hold",
    ),
};

pub(super) fn check(root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(text) = root.optional(CHECK, CONFIG, &mut findings) else {
        return findings;
    };
    let Ok(config) = text.parse::<Table>() else {
        let what = format!("{CONFIG} is no TOML: buildkitd does not start with it");
        findings.push(Finding::fail(CHECK, what, CONFIGURE));
        return findings;
    };
    let registries = config.get("registry").and_then(Value::as_table);
    for (name, table) in registries.into_iter().flatten() {
        let mirrors = table.get("mirrors").and_then(Value::as_array);
        let mirrors = mirrors.into_iter().flatten().filter_map(Value::as_str);
        let mirrors: Vec<Place> = mirrors.map(Place::new).collect();
        if mirrors.is_empty() {
            continue;
        }
        let route = Route {
            registry: name.clone(),
            file: CONFIG.into(),
            places: mirrors.into_iter().chain([Place::new(name)]).collect(),
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
