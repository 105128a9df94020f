//! `metahubctl client-config`: the files that make an engine pull through
//! MetaHub.
//!
//! Each engine has a module, which only makes texts. `install` writes the
//! files, and replaces only those that this command wrote.

mod apptainer;
mod buildkit;
mod containerd;
mod containers;
mod docker;
pub(super) mod file;
mod install;
mod k3s;
mod kubelet;
mod target;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use metahub_host::credential::{DEFAULT_PATH, HostCredential};
use url::Url;

use self::{
    file::{Setup, without_secrets},
    target::{Endpoint, Identity, Login, Target, Upstreams},
};
use crate::{client::is_local, config::Settings, failure::Failure, output::Output, pull, secret};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    engine: Engine,

    /// The way that the host sends its identity to MetaHub.
    #[arg(long, value_enum, default_value_t = Via::Node)]
    via: Via,

    /// The address of metahub-node, for `--via node`.
    #[arg(long, env = "METAHUB_NODE_ADDR", default_value = "127.0.0.1:5000")]
    node_addr: SocketAddr,

    /// The host's credential, written by `metahubctl host login`.
    #[arg(long, env = "METAHUB_HOST_CREDENTIAL", value_name = "FILE", default_value = DEFAULT_PATH)]
    credential: PathBuf,

    /// A login to use instead of the host's, for `--via login`.
    #[arg(long, value_name = "LOGIN", requires = "password_file")]
    login: Option<String>,

    /// The file with that login's secret; `-` is stdin.
    #[arg(long, value_name = "FILE", requires = "login")]
    password_file: Option<PathBuf>,

    /// The path of the host's certificate on the host, for `--via cert`.
    #[arg(long, value_name = "FILE", required_if_eq("via", "cert"))]
    cert: Option<PathBuf>,

    /// The path of the certificate's key on the host.
    #[arg(long, value_name = "FILE", required_if_eq("via", "cert"))]
    key: Option<PathBuf>,

    /// Authorities that the engine must trust for the registry, as PEM
    /// [default: those of the host's credential].
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<PathBuf>,

    /// The registries whose images the engine pulls through MetaHub.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "docker.io", value_parser = parse_upstream)]
    upstreams: Vec<String>,

    /// Pull the images of all registries through MetaHub.
    #[arg(long, conflicts_with = "upstreams")]
    all: bool,

    /// Make MetaHub's refusals final: the engine must not fall back to the
    /// registry itself.
    #[arg(long)]
    enforce: bool,

    /// The root directory for the files, `/` for this host; `-` prints them.
    #[arg(long, value_name = "DIR", default_value = "-")]
    out: PathBuf,

    /// Replace this command's own files even if they were changed by hand.
    #[arg(long)]
    force: bool,

    /// Print secrets instead of leaving them out.
    #[arg(long)]
    show_secrets: bool,
}

/// The engines that this command can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// containerd 1.5 and later, also below Kubernetes.
    Containerd,
    /// Docker.
    Docker,
    /// Podman, buildah and skopeo.
    #[value(aliases = ["buildah", "skopeo"])]
    Podman,
    /// CRI-O.
    CriO,
    /// buildkitd.
    Buildkit,
    /// kubelet's credential provider.
    Kubelet,
    /// Apptainer.
    #[value(alias = "singularity")]
    Apptainer,
    /// nerdctl.
    Nerdctl,
    /// k3s, and RKE2.
    K3s,
}

/// The way that a host sends its identity to MetaHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Via {
    /// The node proxy on this host adds the login: no engine has a secret.
    Node,
    /// The engine's configuration holds the host's login.
    Login,
    /// The engine sends a client certificate.
    Cert,
}

pub(crate) fn run(
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let target = arguments.target(settings)?;
    let mut setup = setup(arguments.engine, &target)?;
    let to_stdout = arguments.out == Path::new("-");
    let root = if to_stdout {
        Path::new("/")
    } else {
        &arguments.out
    };
    let reads_hosts = matches!(arguments.engine, Engine::Containerd | Engine::Kubelet);
    if reads_hosts || arguments.engine == Engine::Nerdctl {
        setup.notes.extend(containerd::obstacles(root, &target));
    }
    let hide = |text: &str| match arguments.show_secrets {
        true => text.to_owned(),
        false => without_secrets(text, &target.endpoint),
    };
    if to_stdout {
        let text = setup.text();
        if hide(&text) != text {
            output.note(
                "the secrets are left out: --out DIR writes them, --show-secrets prints them",
            );
        }
        return output.record(&setup.shown(hide), &hide(&text));
    }
    // If containerd does not read the files, it sends kubelet's secret to the
    // registry itself.
    ensure!(
        arguments.engine != Engine::Kubelet || containerd::is_read(root),
        "nothing was written: {}, or containerd would give MetaHub's secret to the registries",
        kubelet::FIRST
    );
    let done = install::install(&setup, root, arguments.force, hide)?;
    let lines: Vec<String> = done
        .iter()
        .map(|(path, what)| format!("{what} {path}\n"))
        .collect();
    output.record(&setup.shown(hide), &(lines.concat() + &setup.remarks()))
}

fn setup(engine: Engine, target: &Target) -> anyhow::Result<Setup> {
    match engine {
        Engine::Containerd => Ok(containerd::setup(target)),
        Engine::Nerdctl => Ok(containerd::nerdctl(target)),
        Engine::K3s => Ok(k3s::setup(target)),
        Engine::Docker => docker::setup(target),
        Engine::Podman => containers::podman(target),
        Engine::CriO => containers::crio(target),
        Engine::Buildkit => buildkit::setup(target),
        Engine::Kubelet => kubelet::setup(target),
        Engine::Apptainer => apptainer::setup(target),
    }
}

impl Arguments {
    fn target(&self, settings: &Settings) -> anyhow::Result<Target> {
        let upstreams = match self.all {
            true => Upstreams::All,
            false => Upstreams::Named(self.upstreams.clone()),
        };
        Ok(Target {
            endpoint: self.endpoint(settings)?,
            upstreams,
            enforce: self.enforce,
        })
    }

    fn endpoint(&self, settings: &Settings) -> anyhow::Result<Endpoint> {
        if self.via == Via::Node {
            ensure!(
                self.node_addr.ip().is_loopback(),
                "metahub-node gives the host's identity to everyone who reaches it: {} is not on loopback",
                self.node_addr
            );
            return Ok(Endpoint {
                url: Url::parse(&format!("http://{}", self.node_addr))?,
                identity: Identity::Added,
                ca_pem: None,
            });
        }
        let is_needed = self.login.is_none() && self.via == Via::Login;
        let host = match HostCredential::read(&self.credential) {
            Ok(host) => Some(host),
            Err(error) if is_needed || settings.registry.is_none() => return Err(error.into()),
            Err(_) => None,
        };
        let url = match (&settings.registry, &host) {
            (Some(registry), _) => pull::url(registry)?,
            (None, Some(host)) => host.registry.clone(),
            (None, None) => return Err(Failure::NoRegistry.into()),
        };
        check(&url, self.via, settings.insecure)?;
        let given = self
            .registry_ca_file
            .as_deref()
            .map(read_authorities)
            .transpose()?;
        let known = host.as_ref().and_then(|it| it.registry_ca_pem.clone());
        Ok(Endpoint {
            identity: self.identity(host)?,
            ca_pem: given.or(known),
            url,
        })
    }

    fn identity(&self, host: Option<HostCredential>) -> anyhow::Result<Identity> {
        if let (Via::Cert, Some(cert), Some(key)) = (self.via, &self.cert, &self.key) {
            for path in [cert, key] {
                let path = path.display();
                ensure!(
                    cert.is_absolute() && key.is_absolute(),
                    "{path}: give the path that the host has, from / on"
                );
            }
            let (cert, key) = (cert.clone(), key.clone());
            return Ok(Identity::Certificate { cert, key });
        }
        let login = match (&self.login, &self.password_file, host) {
            (Some(name), Some(file), _) => Login {
                name: name.clone(),
                secret: secret::read(file)?,
                has_helper: false,
            },
            (_, _, Some(host)) => Login {
                name: host.login,
                secret: host.secret,
                // The credential helper reads the default path only.
                has_helper: self.credential == Path::new(DEFAULT_PATH),
            },
            _ => bail!(
                "there is no login: run metahubctl host login, or give --login and --password-file"
            ),
        };
        ensure!(
            !login.name.contains(':'),
            "the login `{}` has a colon, which Basic authentication cannot carry",
            login.name
        );
        Ok(Identity::Login(login))
    }
}

/// Checks that engines can pull from `url` with a credential.
fn check(url: &Url, via: Via, insecure: bool) -> anyhow::Result<()> {
    ensure!(
        url.path() == "/" && url.query().is_none(),
        "the registry {url} has a path, which image names cannot carry"
    );
    let is_plain = url.scheme() == "http";
    ensure!(
        !(is_plain && via == Via::Cert),
        "the registry {url} is plain http: a certificate needs https"
    );
    if is_plain && !insecure && !is_local(url) {
        return Err(Failure::PlainRegistry { url: url.clone() }.into());
    }
    Ok(())
}

fn read_authorities(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path);
    let text =
        text.with_context(|| format!("cannot read the authorities in {}", path.display()))?;
    ensure!(
        text.contains("-----BEGIN CERTIFICATE-----"),
        "{} holds no certificate in PEM",
        path.display()
    );
    Ok(text)
}

/// Checks a registry's name as images spell it. The name becomes part of paths.
fn parse_upstream(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:[]".contains(&b);
    let is_told_apart = text.contains(['.', ':']) || text == "localhost";
    match text.bytes().all(fits) && is_told_apart && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => Err("write it as images do: docker.io, ghcr.io or registry.example:5000".into()),
    }
}

/// `text` as a quoted string of TOML and YAML.
fn quoted(text: &str) -> String {
    // Both accept JSON strings.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
