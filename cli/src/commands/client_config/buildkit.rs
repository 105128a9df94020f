//! buildkitd (buildkitd.toml).

use anyhow::bail;

use super::{
    file::{File, Setup, authorities},
    quoted,
    target::{Identity, Target, Upstreams},
};
use crate::engine_files::BUILDKIT_CONFIG;

const AUTHORITIES: &str = "/etc/buildkit/metahub-ca.pem";

pub(super) fn setup(target: &Target) -> anyhow::Result<Setup> {
    if target.enforce {
        bail!(
            "buildkitd cannot be kept from the registry: it asks there after each mirror's refusal. \
             Name images at MetaHub in FROM: {}/docker.io/library/alpine",
            target.endpoint.host()
        );
    }
    if target.endpoint.login().is_some() {
        bail!(
            "buildkitd has no logins of its own, and its client's are not for mirrors \
             (moby/buildkit#5939). Use --via node or --via cert"
        );
    }
    let Upstreams::Named(names) = &target.upstreams else {
        bail!(
            "buildkitd.toml has no entry for all registries: name them with --upstreams docker.io,ghcr.io"
        );
    };
    let mut setup = Setup::default();
    setup
        .files
        .extend(authorities(&target.endpoint, AUTHORITIES));
    setup
        .files
        .push(File::text(BUILDKIT_CONFIG, text(target, names)));
    setup.then = vec![
        "restart buildkitd".into(),
        "docker buildx: the daemon in a container has a loopback of its own. Create it on the host's network:\n\
         docker buildx create --driver-opt network=host --buildkitd-config /etc/buildkit/buildkitd.toml"
            .into(),
    ];
    setup.notes = vec![
        "not enforced: buildkitd asks the registry itself after MetaHub's refusal".into(),
        "the BuildKit inside dockerd does not read this file: it takes docker's registry-mirrors"
            .into(),
    ];
    Ok(setup)
}

fn text(target: &Target, names: &[String]) -> String {
    let endpoint = &target.endpoint;
    let host = quoted(&endpoint.host());
    let mut text = String::new();
    for name in names {
        text += &format!("[registry.{}]\nmirrors = [{host}]\n\n", quoted(name));
    }
    text += &format!("[registry.{host}]\n");
    if endpoint.is_plain() {
        text += "http = true\n";
    }
    if endpoint.ca_pem.is_some() {
        text += &format!("ca = [{}]\n", quoted(AUTHORITIES));
    }
    if let Identity::Certificate { cert, key } = &endpoint.identity {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        text += &format!(
            "[[registry.{host}.keypair]]\ncert = {}\nkey = {}\n",
            quoted(&cert),
            quoted(&key)
        );
    }
    text
}
