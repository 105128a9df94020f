//! k3s: it generates containerd's files from its own registries.yaml.

use secrecy::ExposeSecret;

use super::{
    file::{File, Setup, authorities},
    quoted,
    target::{Identity, Target, Upstreams},
};
use crate::engine_files::{K3S, RKE2};

const AUTHORITIES: &str = "/etc/rancher/k3s/metahub-ca.pem";

pub(super) fn setup(target: &Target) -> Setup {
    let endpoint = &target.endpoint;
    let mut setup = Setup::default();
    setup.files.extend(authorities(endpoint, AUTHORITIES));
    let registries = File::text(format!("{K3S}/registries.yaml"), registries(target));
    setup
        .files
        .push(registries.private(endpoint.login().is_some()));
    if target.enforce {
        setup.files.push(File::text(
            format!("{K3S}/config.yaml.d/90-metahub.yaml"),
            "# k3s of January 2024 (v1.26.13, v1.27.10, v1.28.6, v1.29.1) or later\n\
             disable-default-registry-endpoint: true\n"
                .into(),
        ));
        setup.notes.push(
            "only the registries in registries.yaml are enforced; older k3s ends at the unknown setting".into(),
        );
    } else {
        setup
            .notes
            .push("without --enforce k3s asks the registry itself after MetaHub's refusal".into());
    }
    setup.then = vec!["systemctl restart k3s, or k3s-agent (pods stay)".into()];
    setup
        .notes
        .push(format!("RKE2 reads the same files below {RKE2}"));
    setup
}

fn registries(target: &Target) -> String {
    let endpoint = &target.endpoint;
    let mut text = "mirrors:\n".to_owned();
    let all = ["*".to_owned()];
    let names = match &target.upstreams {
        Upstreams::All => all.as_slice(),
        Upstreams::Named(names) => names,
    };
    for name in names {
        let url = quoted(&endpoint.origin());
        text += &format!("  {}:\n    endpoint:\n      - {url}\n", quoted(name));
    }
    let mut config = String::new();
    if let Some(login) = endpoint.login() {
        let (name, secret) = (quoted(&login.name), quoted(login.secret.expose_secret()));
        config += &format!("    auth:\n      username: {name}\n      password: {secret}\n");
    }
    let certificate = match &endpoint.identity {
        Identity::Certificate { cert, key } => format!(
            "      cert_file: {}\n      key_file: {}\n",
            quoted(&cert.display().to_string()),
            quoted(&key.display().to_string())
        ),
        Identity::Added | Identity::Login(_) => String::new(),
    };
    let authorities = match &endpoint.ca_pem {
        Some(_) => format!("      ca_file: {}\n", quoted(AUTHORITIES)),
        None => String::new(),
    };
    if !(certificate.is_empty() && authorities.is_empty()) {
        config += &format!("    tls:\n{authorities}{certificate}");
    }
    if !config.is_empty() {
        text += &format!("configs:\n  {}:\n{config}", quoted(&endpoint.host()));
    }
    text
}
