//! containerd, and the other readers of its `hosts.toml` (containerd's
//! docs/hosts.md): nerdctl and Kubernetes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    file::{File, Setup, authorities},
    quoted,
    target::{Endpoint, Identity, Target, Upstreams},
};
use crate::engine_files::{
    CONTAINERD_CONFIG as CONFIG, CONTAINERD_DEFAULT as DEFAULT, CONTAINERD_HOSTS as DIRECTORY,
    CONTAINERD_PLUGINS as PLUGINS,
};

/// The file with the authorities.
const AUTHORITIES: &str = "/etc/containerd/certs.d/metahub-ca.pem";

const CRI: &str = "Kubernetes: /etc/containerd/config.toml must name the directory, else the files do nothing.\n\
     containerd 1.x: [plugins.\"io.containerd.grpc.v1.cri\".registry]    config_path = \"/etc/containerd/certs.d\"\n\
     containerd 2.x: [plugins.\"io.containerd.cri.v1.images\".registry]  config_path = \"/etc/containerd/certs.d\"\n\
     After a change there: systemctl restart containerd (running containers stay)";

pub(super) fn setup(target: &Target) -> Setup {
    let mut setup = files(target);
    setup.then = vec![
        "nothing to restart: containerd reads these files at each pull".into(),
        CRI.into(),
        "ctr reads them with `ctr images pull --hosts-dir /etc/containerd/certs.d`".into(),
    ];
    setup
}

/// nerdctl reads the same directory without further settings.
pub(super) fn nerdctl(target: &Target) -> Setup {
    let mut setup = files(target);
    setup.then = vec![
        "nothing to restart: nerdctl reads these files at each pull; rootless, it reads \
         ~/.config/containerd/certs.d: --out and a copy"
            .into(),
    ];
    setup
}

/// One `hosts.toml` per upstream.
pub(super) fn files(target: &Target) -> Setup {
    let endpoint = &target.endpoint;
    let is_private = endpoint.login().is_some();
    let file = |name: &str, text: String| {
        let path = format!("{DIRECTORY}/{}/hosts.toml", directory_of(name));
        File::text(path, text).private(is_private)
    };
    let mut setup = Setup::default();
    setup.files.extend(authorities(endpoint, AUTHORITIES));
    match &target.upstreams {
        Upstreams::Named(names) => {
            let files = names.iter().map(|it| file(it, hosts(target, Some(it))));
            setup.files.extend(files);
        }
        Upstreams::All => {
            setup.files.push(file(DEFAULT, hosts(target, None)));
            // Without this file, `_default` applies to MetaHub's own name too,
            // and treats it as an upstream.
            let own = pinned(endpoint);
            setup.files.push(file(&endpoint.host(), own));
            setup.notes.push(format!(
                "a directory in {DIRECTORY} for one registry wins over _default, even an empty one"
            ));
            setup
                .notes
                .push("containerd 1.5 does not read _default: name the --upstreams".into());
        }
    }
    if !target.enforce {
        setup.notes.push(
            "without --enforce containerd asks the registry itself after MetaHub's refusal".into(),
        );
    }
    setup
}

/// The `hosts.toml` for `upstream`, the registry in image names. `None`: the
/// file for all registries.
fn hosts(target: &Target, upstream: Option<&str>) -> String {
    if target.enforce {
        return pinned(&target.endpoint);
    }
    let fallback = upstream.map(|name| match name {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        name => format!("https://{name}"),
    });
    let server = fallback.map_or_else(String::new, |it| format!("server = {}\n\n", quoted(&it)));
    let endpoint = &target.endpoint;
    let table = format!("host.{}", quoted(&endpoint.origin()));
    format!(
        "# MetaHub first, then the registry. The credential is for MetaHub's address alone.\n\
         {server}[{table}]\n{}",
        settings(endpoint, &table)
    )
}

/// A `hosts.toml` with MetaHub as the `server`: containerd uses no other host.
fn pinned(endpoint: &Endpoint) -> String {
    format!(
        "# MetaHub and nothing else. Without the table `host`, empty as it is, containerd 1.x\n\
         # takes this file for broken and goes to the registry.\n\
         server = {}\n{}\n[host]\n",
        quoted(&endpoint.origin()),
        settings(endpoint, ""),
    )
}

/// The endpoint's settings in `table`; an empty `table` is the top of the file.
fn settings(endpoint: &Endpoint, table: &str) -> String {
    let mut text = "capabilities = [\"pull\", \"resolve\"]\n".to_owned();
    if endpoint.ca_pem.is_some() {
        text += &format!("ca = {}\n", quoted(AUTHORITIES));
    }
    if let Identity::Certificate { cert, key } = &endpoint.identity {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        text += &format!("client = [[{}, {}]]\n", quoted(&cert), quoted(&key));
    }
    if let Some(login) = endpoint.login() {
        let dot = if table.is_empty() { "" } else { "." };
        text += &format!("\n[{table}{dot}header]\n");
        text += &format!(
            "Authorization = {}\n",
            quoted(&format!("Basic {}", login.basic()))
        );
    }
    text
}

/// The name of a registry's directory. A port is in the form that works on all
/// systems.
fn directory_of(host: &str) -> String {
    match host.rsplit_once(':') {
        Some((host, port)) => format!("{host}_{port}_"),
        None => host.to_owned(),
    }
}

/// The absolute path `path` of the host with the root directory `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Whether the CRI plugin reads the files, by the config.toml below `root`.
pub(super) fn is_read(root: &Path) -> bool {
    let text = fs::read_to_string(below(root, CONFIG)).unwrap_or_default();
    let config: Option<Table> = text.parse().ok();
    config.is_some_and(|it| wrong_in(&it).is_empty())
}

/// The reasons why the files do not take effect, as far as the files below
/// `root` show them.
pub(super) fn obstacles(root: &Path, target: &Target) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(text) = fs::read_to_string(below(root, CONFIG)) {
        match text.parse() {
            Ok(config) => found.extend(wrong_in(&config)),
            Err(_) => found.push("/etc/containerd/config.toml is no TOML".into()),
        }
    }
    if matches!(target.upstreams, Upstreams::All) {
        let entries = fs::read_dir(below(root, DIRECTORY));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name == DEFAULT || name == directory_of(&target.endpoint.host());
            if entry.path().is_dir() && !is_ours {
                found.push(format!(
                    "{DIRECTORY}/{name} wins over _default: images of that registry do not come from MetaHub"
                ));
            }
        }
    }
    found
}

fn wrong_in(config: &Table) -> Vec<String> {
    let mut found = Vec::new();
    let is_second = config.get("version").and_then(Value::as_integer) >= Some(3);
    let plugins = config.get("plugins").and_then(Value::as_table);
    let registry = |name: &&str| plugins?.get(*name)?.get("registry")?.as_table();
    let registries: Vec<&Table> = PLUGINS.iter().filter_map(registry).collect();
    let is_filled = |it: &Value| it.as_table().is_some_and(|it| !it.is_empty());
    for old in ["mirrors", "configs"] {
        if registries
            .iter()
            .any(|it| it.get(old).is_some_and(is_filled))
        {
            found.push(format!(
                "/etc/containerd/config.toml has registry.{old}: containerd refuses it together with config_path; remove it"
            ));
        }
    }
    let path = registries
        .iter()
        .find_map(|it| it.get("config_path")?.as_str());
    if path != Some(DIRECTORY) {
        let table = PLUGINS[usize::from(is_second)];
        found.push(format!(
            "/etc/containerd/config.toml: set config_path = {} in [plugins.{}.registry], and nothing else in it: a list with `:` is not read by each version",
            quoted(DIRECTORY),
            quoted(table),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(config: &str) -> Vec<String> {
        wrong_in(&config.parse().unwrap())
    }

    #[test]
    fn a_config_that_names_the_directory_is_no_obstacle() {
        for (version, plugin) in [(2, PLUGINS[0]), (3, PLUGINS[1])] {
            let config = format!(
                "version = {version}\n[plugins.\"{plugin}\".registry]\nconfig_path = \"{DIRECTORY}\""
            );

            assert_eq!(wrong(&config), Vec::<String>::new());
        }
    }

    #[test]
    fn mirrors_of_the_old_form_and_a_list_of_directories_are_obstacles() {
        let config = format!(
            "version = 3\n[plugins.\"{}\".registry]\nconfig_path = \"{DIRECTORY}:/etc/docker/certs.d\"\n\
             [plugins.\"{}\".registry.mirrors.\"docker.io\"]\nendpoint = []",
            PLUGINS[1], PLUGINS[1]
        );

        let wrong = wrong(&config);

        assert!(wrong[0].contains("registry.mirrors"), "{wrong:?}");
        assert!(wrong[1].contains(PLUGINS[1]), "{wrong:?}");
    }

    #[test]
    fn a_port_is_between_underscores_in_the_name_of_a_directory() {
        assert_eq!(directory_of("docker.io"), "docker.io");
        assert_eq!(directory_of("127.0.0.1:5000"), "127.0.0.1_5000_");
    }
}
