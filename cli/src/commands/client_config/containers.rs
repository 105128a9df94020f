//! podman, buildah, skopeo and CRI-O: containers-registries.conf(5) and
//! containers-auth.json(5).

use anyhow::bail;
use serde_json::json;

use super::{
    file::{File, Setup, authorities},
    quoted,
    target::{Endpoint, Identity, Target, Upstreams},
};
use crate::engine_files::{PODMAN_LOGINS, REGISTRIES_DROP_INS};

const DROP_IN: &str = "90-metahub.conf";
const CRIO_LOGINS: &str = "/etc/metahub/crio-auth.json";
const CRIO_CONFIG: &str = "/etc/crio/crio.conf.d/90-metahub.conf";

pub(super) fn podman(target: &Target) -> anyhow::Result<Setup> {
    let mut setup = registries(target)?;
    setup
        .files
        .extend(auth_file(PODMAN_LOGINS, &target.endpoint));
    setup.then =
        vec!["nothing to restart: podman, buildah and skopeo read the files at each pull".into()];
    if target.endpoint.login().is_some() {
        setup
            .notes
            .push("a login is one person's: this one is root's".into());
    }
    Ok(setup)
}

pub(super) fn crio(target: &Target) -> anyhow::Result<Setup> {
    let mut setup = registries(target)?;
    if let Some(file) = auth_file(CRIO_LOGINS, &target.endpoint) {
        setup.files.push(file);
        let config = format!("[crio.image]\nglobal_auth_file = {}\n", quoted(CRIO_LOGINS));
        setup.files.push(File::text(CRIO_CONFIG, config));
        setup
            .then
            .push("systemctl restart crio, once: it reads global_auth_file at its start".into());
    }
    setup
        .then
        .push("systemctl reload crio: it reads registries.conf again".into());
    setup.notes.push(
        "no credential provider of kubelet's: CRI-O drops its answer for another host than the image's \
         (podman-container-tools/container-libs#333)"
            .into(),
    );
    Ok(setup)
}

/// The registries.conf drop-in and the certificates, without logins.
pub(super) fn registries(target: &Target) -> anyhow::Result<Setup> {
    let Upstreams::Named(names) = &target.upstreams else {
        bail!(
            "registries.conf has no entry for all registries: name them with --upstreams docker.io,ghcr.io"
        );
    };
    if let Some(name) = names.iter().find(|it| it.contains(':')) {
        bail!(
            "{name} has a port, which cannot stand within an image's name as \
             {}/{name}: give MetaHub's upstream a name without one",
            target.endpoint.host()
        );
    }
    let endpoint = &target.endpoint;
    let host = endpoint.host();
    let tables = names.iter().map(|name| table(target, name));
    let text: Vec<String> = tables.collect();
    let mut setup = Setup::default();
    setup.files.push(File::text(
        format!("{REGISTRIES_DROP_INS}/{DROP_IN}"),
        text.join("\n"),
    ));
    let place = format!("/etc/containers/certs.d/{host}");
    setup
        .files
        .extend(authorities(endpoint, format!("{place}/metahub-ca.crt")));
    if let Identity::Certificate { cert, key } = &endpoint.identity {
        // podman finds a certificate and its key by their file names
        // (containers-certs.d(5)).
        setup
            .files
            .push(File::link(format!("{place}/metahub.cert"), cert.clone()));
        setup
            .files
            .push(File::link(format!("{place}/metahub.key"), key.clone()));
    }
    if !target.enforce {
        setup
            .notes
            .push("without --enforce the registry itself is asked after MetaHub's refusal".into());
    }
    setup.notes.push(
        "a short name is completed first, then looked up here: docker.io must be among \
         unqualified-search-registries, or the alias must say docker.io"
            .into(),
    );
    setup
        .notes
        .push("a later file in registries.conf.d with the same prefix wins".into());
    Ok(setup)
}

/// The table of one upstream. A name at MetaHub starts with the upstream's.
fn table(target: &Target, name: &str) -> String {
    let endpoint = &target.endpoint;
    let place = quoted(&format!("{}/{name}", endpoint.host()));
    let insecure = match endpoint.is_plain() {
        true => "insecure = true\n",
        false => "",
    };
    let prefix = quoted(name);
    match target.enforce {
        true => format!(
            "# The location is MetaHub itself: nothing else is asked.\n\
             [[registry]]\nprefix = {prefix}\nlocation = {place}\n{insecure}"
        ),
        false => format!(
            "# MetaHub first, then the registry.\n\
             [[registry]]\nprefix = {prefix}\nlocation = {prefix}\n\n\
             [[registry.mirror]]\nlocation = {place}\n{insecure}"
        ),
    }
}

/// The login for MetaHub's host only, in the format of docker's config.json.
pub(super) fn auth_file(path: &str, endpoint: &Endpoint) -> Option<File> {
    let login = endpoint.login()?;
    let host = endpoint.host();
    let value = match login.has_helper {
        true => json!({"credHelpers": {host: "metahub"}}),
        false => json!({"auths": {host: {"auth": login.basic()}}}),
    };
    Some(File::json(path, value).private(true))
}
