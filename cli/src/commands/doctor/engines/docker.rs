//! dockerd: `registry-mirrors` in daemon.json. The setting applies to Docker
//! Hub only; dockerd sends no login to mirrors, and always falls back to Docker
//! Hub (moby#30880).

use serde_json::Value;

use super::{
    super::{files::Root, finding::Finding},
    route::{Addresses, Place, Remedy, Route, Way, shown},
};
use crate::engine_files::{DOCKER_CONFIG as CONFIG, DOCKER_LOGINS as LOGINS};

const CHECK: &str = "docker";
const CONFIGURE: &str = "metahubctl client-config docker --out /";
const REMEDY: Remedy<'_> = Remedy {
    check: CHECK,
    configure: CONFIGURE,
    unenforceable: Some(
        "docker cannot be kept from Docker Hub: name images by MetaHub's address where a refusal has to hold",
    ),
};

pub(super) fn check(root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(logins(root, addresses, CHECK, LOGINS));
    let Some(text) = root.optional(CHECK, CONFIG, &mut findings) else {
        return findings;
    };
    let Ok(config) = serde_json::from_str::<Value>(&text) else {
        let what = format!("{CONFIG} is no JSON: dockerd does not start with it");
        findings.push(Finding::fail(CHECK, what, "dockerd --validate"));
        return findings;
    };
    let mirrors = config["registry-mirrors"].as_array();
    let mirrors = mirrors.into_iter().flatten().filter_map(Value::as_str);
    let mirrors: Vec<Place> = mirrors.map(Place::new).collect();
    let hub = Place::new("https://registry-1.docker.io");
    let route = Route {
        registry: "docker.io".into(),
        file: CONFIG.into(),
        places: mirrors.into_iter().chain([hub]).collect(),
    };
    let Some(judged) = route.judge(addresses, &REMEDY) else {
        return findings;
    };
    findings.push(judged);
    for place in &route.places {
        let way = addresses.way(&place.address);
        ways.extend(way);
        if way == Some(Way::Registry) {
            let what = format!(
                "{CONFIG} has the mirror {}, to which docker sends no login",
                shown(&place.address)
            );
            let next = format!("{CONFIGURE} --via node");
            findings.push(Finding::fail(CHECK, what, next));
        }
    }
    findings
}

/// Finds a login at MetaHub in a file in the format of docker's config.json:
/// images by MetaHub's name need no mirror.
pub(super) fn logins(
    root: &Root,
    addresses: &Addresses,
    check: &'static str,
    path: &str,
) -> Option<Finding> {
    let text = root.read(path).ok()?;
    let config: Value = serde_json::from_str(&text).ok()?;
    let hosts = |key: &str| config[key].as_object().cloned().unwrap_or_default();
    let mut hosts = hosts("auths").into_iter().chain(hosts("credHelpers"));
    let (host, _) = hosts.find(|(host, _)| addresses.way(host).is_some())?;
    let what = format!(
        "{path} has a login for {}: images by that name come from MetaHub",
        shown(&host)
    );
    Some(Finding::ok(check, what))
}
