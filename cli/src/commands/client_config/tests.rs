//! Compares each engine's files with `golden/*.txt`. `UPDATE=1` rewrites the
//! golden files.

use std::{env, fs};

use clap::Parser;
use secrecy::SecretString;

use super::*;
use crate::config::Config;

/// The global settings and the command's arguments, from one command line.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    arguments: Arguments,
}

/// Each golden file, and the command line that prints it.
const GOLDEN: [(&str, &str); 21] = [
    ("containerd-node", "containerd"),
    (
        "containerd-node-enforce",
        "containerd --enforce --upstreams docker.io,registry.example:5000",
    ),
    ("containerd-node-all", "containerd --all --enforce"),
    ("containerd-login", "containerd --via login"),
    (
        "containerd-login-enforce",
        "containerd --via login --enforce",
    ),
    (
        "containerd-cert",
        "containerd --via cert --enforce --cert /etc/metahub/host.pem --key /etc/metahub/host.key",
    ),
    ("docker-node", "docker --upstreams docker.io,ghcr.io"),
    ("docker-login", "docker --via login"),
    ("podman-node", "podman"),
    (
        "podman-node-enforce",
        "podman --enforce --upstreams docker.io,ghcr.io",
    ),
    ("podman-login-enforce", "podman --via login --enforce"),
    (
        "podman-cert",
        "podman --via cert --cert /etc/metahub/host.pem --key /etc/metahub/host.key",
    ),
    ("cri-o-login", "cri-o --via login --enforce"),
    ("buildkit-node", "buildkit --upstreams docker.io,ghcr.io"),
    (
        "buildkit-cert",
        "buildkit --via cert --cert /etc/metahub/host.pem --key /etc/metahub/host.key",
    ),
    (
        "kubelet-login",
        "kubelet --via login --enforce --upstreams docker.io,ghcr.io",
    ),
    ("apptainer-node", "apptainer"),
    ("apptainer-login", "apptainer --via login"),
    ("nerdctl-node", "nerdctl --enforce"),
    ("k3s-node-all", "k3s --all --enforce"),
    ("k3s-login", "k3s --via login"),
];

fn made(line: &str) -> anyhow::Result<(Target, Setup)> {
    let dir = tempfile::tempdir().unwrap();
    let credential = HostCredential {
        schema: 1,
        registry: Url::parse("https://metahub.example").unwrap(),
        control: Url::parse("https://control.example:7400").unwrap(),
        host_id: "node17".into(),
        machine_type: "qnib/type1".into(),
        login: "qnib-type1~node17".into(),
        secret: SecretString::from("hunter2"),
        registry_ca_pem: Some("-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n".into()),
        control_ca_pem: None,
        control_fingerprint: None,
        features: Vec::new(),
    };
    let path = dir.path().join("host.json");
    credential.write(&path).unwrap();
    let settings = dir.path().join("settings.toml");
    fs::write(&settings, "").unwrap();
    let flags = [
        "metahubctl".into(),
        format!("--settings={}", settings.display()),
        format!("--credential={}", path.display()),
    ];
    let words = line.split_whitespace().map(String::from);
    let line = Line::try_parse_from(flags.into_iter().chain(words))?;
    let mut target = line.arguments.target(&line.config.resolve()?)?;
    if let Identity::Login(login) = &mut target.endpoint.identity {
        login.has_helper = line.arguments.login.is_none();
    }
    let setup = setup(line.arguments.engine, &target)?;
    Ok((target, setup))
}

fn refusal(line: &str) -> String {
    match made(line) {
        Ok((_, setup)) => panic!("{line} is taken:\n{}", setup.text()),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn each_engine_gets_the_files_that_the_golden_files_show() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/client_config/golden");
    for (name, line) in GOLDEN {
        let text = format!(
            "$ metahubctl client-config {line}\n{}",
            made(line).unwrap().1.text()
        );
        let path = golden.join(format!("{name}.txt"));
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
    }
    assert_eq!(fs::read_dir(golden).unwrap().count(), GOLDEN.len());
}

#[test]
fn each_toml_and_yaml_file_is_well_formed() {
    for (name, line) in GOLDEN {
        for file in made(line).unwrap().1.files {
            let Some(text) = file.bytes() else { continue };
            if file.path.ends_with(".toml") || file.path.ends_with(".conf") {
                text.parse::<toml::Table>()
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            if file.path.ends_with(".yaml") {
                serde_saphyr::from_str::<serde_json::Value>(&text)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }
}

#[test]
fn a_file_that_holds_a_secret_is_for_its_owner_alone_and_shows_it_to_nobody() {
    let mut private = 0;
    for (name, line) in GOLDEN {
        let (target, setup) = made(line).unwrap();
        let secrets = target.endpoint.secrets();
        for file in &setup.files {
            let text = file.bytes().unwrap_or_default();
            if secrets.iter().any(|it| text.contains(it.as_str())) {
                private += 1;
                assert_eq!(file.mode, 0o600, "{name}: {}", file.path);
                let shown = without_secrets(&text, &target.endpoint);
                assert!(
                    secrets.iter().all(|it| !shown.contains(it.as_str())),
                    "{shown}"
                );
            }
        }
    }
    assert!(private >= 3, "{private}");
}

#[test]
fn what_an_engine_cannot_do_is_refused_with_the_reason() {
    let cert = "--cert /a --key /b";
    for (line, reason) in [
        ("docker --enforce".to_owned(), "moby/moby#30880"),
        ("apptainer --enforce".to_owned(), "metahub"),
        (format!("docker --via cert {cert}"), "moby/moby#51662"),
        ("buildkit --enforce".to_owned(), "metahub"),
        ("buildkit --via login".to_owned(), "--via node"),
        ("kubelet".to_owned(), "client-config containerd"),
        ("kubelet --via login".to_owned(), "--enforce"),
        (
            "kubelet --via login --enforce --all".to_owned(),
            "--upstreams",
        ),
        ("podman --all".to_owned(), "--upstreams"),
        (
            "cri-o --upstreams registry:5000".to_owned(),
            "registry:5000 has a port",
        ),
        (format!("apptainer --via cert {cert}"), "--via node"),
        ("containerd --upstreams ../../etc".to_owned(), "docker.io"),
        (
            "containerd --node-addr 10.0.0.1:5000".to_owned(),
            "loopback",
        ),
        (
            "containerd --via cert --cert a --key b".to_owned(),
            "from / on",
        ),
        (
            "containerd --via login --registry http://10.0.0.1".to_owned(),
            "plain text",
        ),
    ] {
        let said = refusal(&line);

        let reason = reason.replace("metahub", "127.0.0.1:5000/docker.io");
        assert!(said.contains(&reason), "{line}: {said}");
    }
}
