//! kubelet's credential provider (kubelet.config.k8s.io/v1).
//!
//! containerd sends kubelet's login to every host that it requests the image
//! from. So the setup adds the provider only with `hosts.toml` files that name
//! no host but MetaHub.

use anyhow::{bail, ensure};

use super::{
    containerd,
    file::{File, Setup},
    quoted,
    target::{Endpoint, Identity, Target, Upstreams},
};
use crate::engine_files::KUBELET_PROVIDER as CONFIG;

/// The precondition for a credential provider.
pub(super) const FIRST: &str = "let /etc/containerd/config.toml name /etc/containerd/certs.d alone as config_path first, \
     and restart containerd";

pub(super) fn setup(target: &Target) -> anyhow::Result<Setup> {
    let Some(login) = target.endpoint.login() else {
        bail!(
            "kubelet needs nothing of its own this way: configure its engine, with \
             `metahubctl client-config containerd --enforce` or `… cri-o --enforce`"
        );
    };
    ensure!(
        login.has_helper,
        "kubelet's provider gives the login of this host: run metahubctl host login, and leave --login out"
    );
    ensure!(
        target.enforce,
        "containerd hands kubelet's credentials to every host that it asks, Docker Hub too: only with \
         --enforce is MetaHub the only one. `metahubctl client-config containerd --via node` needs no credentials"
    );
    let Upstreams::Named(names) = &target.upstreams else {
        bail!(
            "kubelet's provider has no pattern for all registries, and a directory beside _default \
             would leak the secret: name them with --upstreams docker.io,ghcr.io"
        );
    };
    let bare = Target {
        endpoint: Endpoint {
            identity: Identity::Added,
            ..target.endpoint.clone()
        },
        ..target.clone()
    };
    let mut setup = containerd::files(&bare);
    setup.files.push(File::text(CONFIG, provider(names)));
    setup.then = vec![
        FIRST.into(),
        format!(
            "start kubelet with --image-credential-provider-config={CONFIG} \
             --image-credential-provider-bin-dir=/usr/local/bin, where metahub-credential-provider is"
        ),
        "if kubelet has a provider already: add the entry of `providers` to its file".into(),
    ];
    setup.notes = vec![
        "never with CRI-O: it drops the credentials for another host than the image's \
         (podman-container-tools/container-libs#333)"
            .into(),
        "never without the hosts.toml files above: containerd would give MetaHub's secret to the registries"
            .into(),
    ];
    Ok(setup)
}

fn provider(names: &[String]) -> String {
    let images: Vec<String> = names
        .iter()
        .map(|it| format!("      - {}\n", quoted(it)))
        .collect();
    format!(
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n  \
         - name: metahub-credential-provider\n    \
         apiVersion: credentialprovider.kubelet.k8s.io/v1\n    \
         defaultCacheDuration: \"10m\"\n    matchImages:\n{}",
        images.concat()
    )
}
