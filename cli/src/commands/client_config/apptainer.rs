//! Apptainer: names at MetaHub, and registries.conf where its version reads it.

use anyhow::bail;

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
    let mut setup = containers::registries(target)?;
    setup.files.extend(containers::auth_file(LOGINS, endpoint));
    let flag = if endpoint.is_plain() {
        "--no-https "
    } else {
        ""
    };
    setup.notes = vec![
        "apptainer 1.4.0 ignores registries.conf (apptainer/apptainer#2919), later ones read it again".into(),
        format!(
            "each version takes the name at MetaHub, which is not bypassed:\n\
             apptainer pull {flag}docker://{}/docker.io/library/alpine",
            endpoint.host()
        ),
    ];
    if endpoint.login().is_some() {
        setup.notes.push(
            "the login is root's; others set APPTAINER_DOCKER_USERNAME and APPTAINER_DOCKER_PASSWORD, \
             or the host runs the node proxy: --via node"
                .into(),
        );
    }
    setup.then = vec!["nothing to restart".into()];
    Ok(setup)
}
