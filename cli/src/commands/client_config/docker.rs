//! Docker: `registry-mirrors` through the node proxy, or image names at MetaHub
//! with a login. Neither prevents docker's requests to Docker Hub.

use anyhow::bail;
use serde_json::json;

use super::{
    containers,
    file::{File, Setup, authorities},
    target::{Identity, Target, Upstreams},
};
use crate::engine_files::{DOCKER_CONFIG, DOCKER_LOGINS};

pub(super) fn setup(target: &Target) -> anyhow::Result<Setup> {
    if target.enforce {
        bail!("{}", not_enforced(target));
    }
    match &target.endpoint.identity {
        Identity::Added => Ok(mirror(target)),
        Identity::Login(_) => Ok(names(target)),
        Identity::Certificate { .. } => bail!(
            "docker cannot show MetaHub a client certificate: its containerd store, the default \
             since docker 29, does not know them (moby/moby#51662). Use --via node"
        ),
    }
}

fn not_enforced(target: &Target) -> String {
    format!(
        "docker cannot be kept from Docker Hub: it asks there after each mirror's refusal \
         (moby/moby#30880). Name images at MetaHub, where a refusal stays a refusal:\n{}\n\
         and close the way to registry-1.docker.io for the daemon",
        examples(target)
    )
}

/// Example image names that make docker use MetaHub only.
fn examples(target: &Target) -> String {
    let host = target.endpoint.host();
    format!(
        "  docker pull {host}/alpine               for alpine\n  \
         docker pull {host}/ghcr.io/org/app      for ghcr.io/org/app"
    )
}

fn mirror(target: &Target) -> Setup {
    let endpoint = &target.endpoint;
    let mut notes = vec![format!(
        "not enforced: docker asks Docker Hub itself after MetaHub's refusal (moby/moby#30880). \
         These names are not bypassed:\n{}",
        examples(target)
    )];
    let others = target.upstreams.named().iter().any(|it| it != "docker.io");
    if others || matches!(target.upstreams, Upstreams::All) {
        notes.push(
            "docker mirrors docker.io only; images of other registries need such names".into(),
        );
    }
    Setup {
        files: vec![File::json(
            DOCKER_CONFIG,
            json!({"registry-mirrors": [endpoint.origin()]}),
        )],
        then: vec!["systemctl reload docker (containers stay)".into()],
        notes,
    }
}

/// The setup for image names at MetaHub, with docker's own login there.
fn names(target: &Target) -> Setup {
    let endpoint = &target.endpoint;
    let host = endpoint.host();
    let mut setup = Setup::default();
    setup.files.extend(authorities(
        endpoint,
        format!("/etc/docker/certs.d/{host}/ca.crt"),
    ));
    setup
        .files
        .extend(containers::auth_file(DOCKER_LOGINS, endpoint));
    setup.then = vec!["nothing to restart: the docker command reads its login at each pull".into()];
    setup.notes = vec![
        format!(
            "docker sends no login to a mirror (moby/moby#30880): name images at MetaHub\n{}",
            examples(target)
        ),
        "a login is one person's: this one is root's".into(),
    ];
    if endpoint.is_plain() && !crate::client::is_local(&endpoint.url) {
        setup.notes.push(format!(
            "docker takes plain http from 127.0.0.0/8 only: add \"insecure-registries\": [\"{host}\"] to /etc/docker/daemon.json"
        ));
    }
    setup
}
