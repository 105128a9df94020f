//! containerd: `config.toml` has to name the directory of `hosts.toml` files,
//! and each of those files has an order of its own.
//!
//! Sources: containerd's docs/hosts.md, docs/cri/registry.md, and
//! core/remotes/docker/config/hosts.go.

use toml::{Table, Value, de::DeTable};

use super::{
    super::{files::Root, finding::Finding},
    route::{Addresses, Place, Remedy, Route, Way, shown},
};
use crate::engine_files::{
    CONTAINERD_CONFIG as CONFIG, CONTAINERD_DEFAULT as DEFAULT, CONTAINERD_HOSTS as DIRECTORY,
    CONTAINERD_PLUGINS as PLUGINS, KUBELET_PROVIDER,
};

const CHECK: &str = "containerd";
const CONFIGURE: &str = "metahubctl client-config containerd --out /";
const REMEDY: Remedy<'_> = Remedy {
    check: CHECK,
    configure: CONFIGURE,
    unenforceable: None,
};

/// One `hosts.toml`.
struct Hosts {
    path: String,
    table: Table,
    /// The hosts in the order of the file.
    order: Vec<String>,
}

pub(super) fn check(root: &Root, addresses: &Addresses, ways: &mut Vec<Way>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = root.names(DIRECTORY).unwrap_or_default();
    let names: Vec<String> = names
        .into_iter()
        .filter(|it| root.is_dir(&format!("{DIRECTORY}/{it}")))
        .collect();
    let mut elsewhere = Vec::new();
    let mut has_default = false;
    for name in &names {
        let mut of_file = Vec::new();
        let hosts = Hosts::read(root, name, &mut of_file);
        let route = hosts.as_ref().map(|it| it.route(name));
        let judged = route.as_ref().and_then(|it| it.judge(addresses, &REMEDY));
        let (Some(hosts), Some(route), Some(judged)) = (hosts, route, judged) else {
            elsewhere.push((name, of_file));
            continue;
        };
        has_default |= name == DEFAULT;
        let found = route
            .places
            .iter()
            .filter_map(|it| addresses.way(&it.address));
        ways.extend(found);
        of_file.push(judged);
        of_file.extend(leak(root, &route, addresses));
        of_file.extend(hosts.settings(root, addresses));
        findings.extend(of_file);
    }
    let uses_metahub = !findings.is_empty();
    for (name, of_file) in elsewhere {
        if has_default && addresses.way(&registry_of(name)).is_none() {
            findings.push(shadow(root, name));
        }
        findings.extend(of_file);
    }
    if uses_metahub {
        findings.extend(directory(root));
    }
    findings
}

/// A finding if the host's login leaks: kubelet's provider gives containerd the
/// login for an image, and containerd sends it to each place that it requests
/// the image from.
fn leak(root: &Root, route: &Route, addresses: &Addresses) -> Option<Finding> {
    let mut places = route.places.iter();
    let other = places.find(|it| addresses.way(&it.address).is_none())?;
    if !root.exists(KUBELET_PROVIDER) {
        return None;
    }
    let what = format!(
        "{}: kubelet has a credential provider, so containerd shows this host's secret to {} too",
        route.file,
        shown(&other.address)
    );
    Some(Finding::fail(CHECK, what, format!("{CONFIGURE} --enforce")))
}

/// The finding for a directory that takes precedence over `_default`.
fn shadow(root: &Root, name: &str) -> Finding {
    let (directory, registry) = (format!("{DIRECTORY}/{name}"), registry_of(name));
    let what =
        format!("{directory} shadows {DEFAULT}: images of {registry} do not come from MetaHub");
    if root.exists(&format!("{directory}/hosts.toml")) {
        let next = format!("{CONFIGURE} --upstreams {registry}, unless that is meant");
        return Finding::warn(CHECK, what, next);
    }
    let next = format!("rmdir {directory}, or {CONFIGURE} --upstreams {registry}");
    Finding::fail(CHECK, format!("{what}; it has no hosts.toml"), next)
}

/// The registry's name for a directory's name.
fn registry_of(name: &str) -> String {
    let port = name.strip_suffix('_').and_then(|it| it.rsplit_once('_'));
    port.map_or_else(|| name.to_owned(), |(host, port)| format!("{host}:{port}"))
}

impl Hosts {
    fn read(root: &Root, name: &str, findings: &mut Vec<Finding>) -> Option<Self> {
        let path = format!("{DIRECTORY}/{name}/hosts.toml");
        let text = root.optional(CHECK, &path, findings)?;
        let Ok(table) = text.parse::<Table>() else {
            let what = format!(
                "{path} is no TOML: containerd says so in its log alone, and goes to the registry itself"
            );
            findings.push(Finding::fail(CHECK, what, CONFIGURE));
            return None;
        };
        let order = order(&text).unwrap_or_default();
        if table.contains_key("server") && !table.get("host").is_some_and(Value::is_table) {
            let what = format!(
                "{path} has no [host] table: containerd takes it for broken, and goes to the registry itself"
            );
            let next = "add a line `[host]` at its end, even an empty one";
            findings.push(Finding::fail(CHECK, what, next));
        }
        Some(Self { path, table, order })
    }

    fn route(&self, name: &str) -> Route {
        let registry = registry_of(name);
        let hosts = self.order.iter().map(|host| Place {
            address: host.clone(),
            resolves: resolves(self.host(host)),
        });
        let server = match (self.table.get("server").and_then(Value::as_str), name) {
            (Some(server), _) => server.to_owned(),
            (None, DEFAULT) => "the registry itself".to_owned(),
            (None, "docker.io") => "https://registry-1.docker.io".to_owned(),
            (None, _) => format!("https://{registry}"),
        };
        let server = Place {
            address: server,
            resolves: resolves(Some(&self.table)),
        };
        Route {
            registry: match name {
                DEFAULT => "all registries".to_owned(),
                _ => registry,
            },
            file: self.path.clone(),
            places: hosts.chain([server]).collect(),
        }
    }

    fn host(&self, name: &str) -> Option<&Table> {
        self.table.get("host")?.get(name)?.as_table()
    }

    /// The places that are MetaHub's, each with its settings.
    fn own<'a>(&'a self, addresses: &Addresses) -> Vec<(&'a str, Way, &'a Table)> {
        let server = self.table.get("server").and_then(Value::as_str);
        let hosts = self.order.iter();
        let hosts = hosts.filter_map(|it| Some((it.as_str(), self.host(it)?)));
        hosts
            .chain(server.map(|it| (it, &self.table)))
            .filter_map(|(name, table)| Some((name, addresses.way(name)?, table)))
            .collect()
    }

    /// The settings that stop containerd from using MetaHub's places.
    fn settings(&self, root: &Root, addresses: &Addresses) -> Vec<Finding> {
        let path = &self.path;
        let mut findings = Vec::new();
        for (name, way, table) in self.own(addresses) {
            let name = shown(name);
            let has_login = has_authorization(table) || table.contains_key("client");
            if way == Way::Registry && !has_login {
                let what = format!(
                    "{path} has no login for {name}: containerd shows MetaHub the login of the pod, or none"
                );
                let next = format!("{CONFIGURE} --via node, or --via login");
                findings.push(Finding::warn(CHECK, what, next));
            }
            if table.get("skip_verify").and_then(Value::as_bool) == Some(true)
                && name.starts_with("https://")
            {
                let what = format!("{path}: the certificate of {name} is not verified");
                let next = "remove skip_verify, and name the authority with `ca`";
                findings.push(Finding::warn(CHECK, what, next));
            }
            for file in texts(table.get("ca")) {
                if file.starts_with('/') && !root.exists(&file) {
                    let what = format!("{path} names the authority {file}, which is not there");
                    findings.push(Finding::fail(CHECK, what, CONFIGURE));
                }
            }
        }
        findings
    }
}

fn has_authorization(table: &Table) -> bool {
    let header = table.get("header").and_then(Value::as_table);
    header.is_some_and(|it| {
        it.keys()
            .any(|key| key.eq_ignore_ascii_case("authorization"))
    })
}

/// Whether containerd resolves tags at a host. Without a list of capabilities,
/// it does.
fn resolves(host: Option<&Table>) -> bool {
    let capabilities = host.and_then(|it| it.get("capabilities"));
    let capabilities = texts(capabilities);
    capabilities.is_empty()
        || capabilities
            .iter()
            .any(|it| it.eq_ignore_ascii_case("resolve"))
}

/// A text, or a list of texts.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The hosts in a file, in the file's order.
fn order(text: &str) -> Option<Vec<String>> {
    let parsed = DeTable::parse(text).ok()?;
    let hosts = parsed.get_ref().get("host")?.get_ref().as_table()?;
    let mut hosts: Vec<_> = hosts
        .keys()
        .map(|key| (key.span().start, key.get_ref().to_string()))
        .collect();
    hosts.sort_unstable();
    Some(hosts.into_iter().map(|(_, host)| host).collect())
}

/// Checks that Kubernetes pulls use the directory.
fn directory(root: &Root) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(text) = root.optional(CHECK, CONFIG, &mut findings) else {
        return findings;
    };
    let Ok(config) = text.parse::<Table>() else {
        let what = format!("{CONFIG} is no TOML: containerd does not start with it");
        findings.push(Finding::fail(CHECK, what, "containerd config dump"));
        return findings;
    };
    if texts(config.get("disabled_plugins"))
        .iter()
        .any(|it| it.contains("cri"))
    {
        let what =
            format!("{CONFIG} turns CRI off: {DIRECTORY} is for nerdctl, and for ctr --hosts-dir");
        findings.push(Finding::ok(CHECK, what));
        return findings;
    }
    let version = config.get("version").and_then(Value::as_integer);
    let configs: Vec<Table> = imported(root, &config)
        .into_iter()
        .chain([config])
        .collect();
    let registry = |plugin: &str| {
        let tables = configs.iter();
        let mut tables = tables.filter_map(|it| {
            let plugin = it.get("plugins")?.get(plugin)?;
            plugin.get("registry")?.as_table().cloned()
        });
        tables.next().unwrap_or_default()
    };
    let [old, new] = PLUGINS.map(registry);
    // With a version 3 file, containerd 2 ignores the key of version 2.
    let (table, ignored) = match version {
        Some(3..) => (new, Some(old)),
        _ => (old, None),
    };
    findings.push(config_path(&table, ignored.as_ref(), version));
    findings.extend(old_form(&table));
    findings
}

fn config_path(table: &Table, ignored: Option<&Table>, version: Option<i64>) -> Finding {
    let plugin = PLUGINS[usize::from(version >= Some(3))];
    let next = format!(
        "set config_path = \"{DIRECTORY}\" in [plugins.\"{plugin}\".registry] of {CONFIG}, and restart containerd"
    );
    let path = |table: &Table| {
        table
            .get("config_path")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    match path(table).filter(|it| !it.is_empty()) {
        Some(path) if path == DIRECTORY => {
            Finding::ok(CHECK, format!("{CONFIG} reads {DIRECTORY}"))
        }
        Some(path) if path.split(':').any(|it| it == DIRECTORY) => {
            let what = format!(
                "{CONFIG}: config_path has several directories, which not every part of containerd reads"
            );
            Finding::warn(CHECK, what, next)
        }
        Some(path) => {
            let what = format!("{CONFIG} reads {path}, and MetaHub is in {DIRECTORY}");
            Finding::fail(CHECK, what, next)
        }
        None if ignored.and_then(path).is_some() => {
            let what = format!(
                "{CONFIG} is of version 3, and names the directory with the key of version 2, which is ignored"
            );
            Finding::fail(CHECK, what, next)
        }
        None => {
            let what = format!(
                "{CONFIG} has no config_path: containerd before 2.2 does not read {DIRECTORY} for Kubernetes"
            );
            Finding::fail(CHECK, what, next)
        }
    }
}

/// Finds tables that containerd rejects together with `config_path`.
fn old_form(table: &Table) -> Option<Finding> {
    let is_filled = |key: &&str| {
        let table = table.get(*key).and_then(Value::as_table);
        table.is_some_and(|it| !it.is_empty())
    };
    let key = ["mirrors", "configs"].into_iter().find(is_filled)?;
    let what = format!("{CONFIG} has registry.{key}, which containerd refuses beside config_path");
    let next = format!("move it to {DIRECTORY}/*/hosts.toml, and restart containerd");
    Some(Finding::fail(CHECK, what, next))
}

/// The files that the configuration imports, by name or by a pattern for the
/// end of the name.
fn imported(root: &Root, config: &Table) -> Vec<Table> {
    let mut tables = Vec::new();
    for import in texts(config.get("imports")) {
        let Some((directory, pattern)) = import.rsplit_once('/') else {
            continue;
        };
        let names = match pattern.split_once('*') {
            None => vec![pattern.to_owned()],
            Some((start, end)) => {
                let names = root.names(directory).unwrap_or_default().into_iter();
                let fits = |it: &String| it.starts_with(start) && it.ends_with(end);
                names.filter(fits).collect()
            }
        };
        let texts = names
            .iter()
            .map(|it| root.read(&format!("{directory}/{it}")));
        tables.extend(texts.flatten().filter_map(|it| it.parse::<Table>().ok()));
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_asked_in_the_order_of_the_file() {
        let text = "[host.\"https://z\"]\n[host.\"https://a\"]\ncapabilities = [\"pull\"]\n";

        assert_eq!(order(text).unwrap(), ["https://z", "https://a"]);
    }

    #[test]
    fn a_directory_with_a_port_is_for_a_registry_with_a_port() {
        assert_eq!(
            registry_of("registry.example_5000_"),
            "registry.example:5000"
        );
        assert_eq!(
            registry_of("registry.example:5000"),
            "registry.example:5000"
        );
        assert_eq!(registry_of("_default"), "_default");
    }

    #[test]
    fn the_key_of_version_2_in_a_file_of_version_3_is_named() {
        let old: Table = format!("config_path = \"{DIRECTORY}\"").parse().unwrap();

        let finding = config_path(&Table::new(), Some(&old), Some(3));

        assert!(finding.what.contains("is ignored"), "{finding}");
        assert!(finding.next.unwrap().contains(PLUGINS[1]));
    }
}
