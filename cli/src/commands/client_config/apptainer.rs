//! Apptainer: image names at MetaHub. Apptainer reads podman's registries.conf,
//! but version 1.4.5 still gets the digest from the registry itself.

use anyhow::{bail, ensure};

use super::{
    containers,
    file::Setup,
    target::{Identity, Target},
};

const LOGINS: &str = "/root/.apptainer/docker-config.json";

pub(super) fn setup(target: &Target) -> anyhow::Result<Setup> {
    let endpoint = &target.endpoint;
    if let Identity::Certificate { .. } = endpoint.identity {
        bail!("apptainer shows no client certificate: use --via node");
    }
    ensure!(
        !target.enforce,
        "apptainer cannot be kept from the registry: version 1.4.5 asks there for the digest, \
         whatever registries.conf says. Name images at MetaHub, where a refusal stays a \
         refusal:\n{}",
        example(target)
    );
    let mut setup = Setup::default();
    let logins = containers::auth_file(LOGINS, endpoint);
    setup.files.extend(logins);
    setup.then = vec!["nothing to restart".into()];
    setup.notes = vec![
        format!("name images at MetaHub:\n{}", example(target)),
        "podman's registries.conf is not enough: apptainer 1.4.5 asks the registry itself for \
         the digest, and its cache, which hosts may share, goes by that"
            .into(),
    ];
    if endpoint.ca_pem.is_some() {
        setup.notes.push(
            "apptainer trusts the system's authorities: add the registry's with \
             update-ca-certificates"
                .into(),
        );
    }
    if endpoint.login().is_some() {
        setup.notes.push(
            "the login is root's; others set APPTAINER_DOCKER_USERNAME and \
             APPTAINER_DOCKER_PASSWORD, or the host runs the node proxy: --via node"
                .into(),
        );
    }
    Ok(setup)
}

fn example(target: &Target) -> String {
    let endpoint = &target.endpoint;
    let flag = match endpoint.is_plain() {
        true => "--no-https ",
        false => "",
    };
    format!(
        "apptainer pull {flag}docker://{}/docker.io/library/alpine",
        endpoint.host()
    )
}
