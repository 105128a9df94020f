//! A worker with TLS, and hosts with certificates. All parts but the authority
//! are real.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use metahub_cli::demo::image::{Form, Image, ImageSet, REPOSITORY};
use tempfile::TempDir;

use crate::{
    admin::{Admin, Login},
    authority::Authority,
    control::ControlProcess,
    parts::DockerRegistry,
    site::policy,
    worker::{Ports, WorkerProcess},
};

/// The names of the worker's files.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A worker with TLS, and `qnib/bench:docker` upstream.
#[derive(Debug)]
pub struct SecuredWorker {
    /// The worker.
    pub worker: WorkerProcess,
    /// The control plane.
    pub control: ControlProcess,
    /// The upstream.
    pub upstream: DockerRegistry,
    /// The client that edits the policy.
    pub admin: Admin,
    /// The login of a Broadwell host.
    pub type1: Login,
    /// The login of a Skylake host.
    pub type2: Login,
    /// The issuer of the certificates of the worker and of hosts.
    pub authority: Authority,
    set: ImageSet,
    names: Vec<String>,
    dir: TempDir,
}

impl SecuredWorker {
    /// Starts a worker with additional flags. Its certificate also covers
    /// `gateway` and 127.0.0.1.
    pub async fn start(gateway: Ipv4Addr, flags: &[&str]) -> Self {
        let upstream = DockerRegistry::start().await;
        let set = ImageSet::bench(Form::Docker).expect("memory takes all");
        upstream.push_images(REPOSITORY, "docker", &set).await;
        let control = ControlProcess::start().await;
        let mut admin = control.place().admin();
        let (type1, type2) = policy(&mut admin, &upstream.url()).await;
        let (authority, dir) = (Authority::new(), TempDir::new().expect("a directory"));
        let names = ["127.0.0.10", "127.0.0.1", &gateway.to_string()].map(str::to_owned);
        write_certificate(&authority, &names, dir.path());
        fs::write(dir.path().join("ca.crt"), authority.pem()).expect("it can be written");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let files = [
            format!("--tls-cert={}", path(CERTIFICATE)),
            format!("--tls-key={}", path(KEY)),
            format!("--tls-client-ca={}", path("ca.crt")),
        ];
        let files = files.iter().map(String::as_str);
        let flags: Vec<_> = files.chain(flags.iter().copied()).collect();
        let worker = WorkerProcess::start_with(control.place(), Ports::free(), 0, &flags).await;
        admin.all_current(1).await;
        Self {
            worker,
            control,
            upstream,
            admin,
            type1,
            type2,
            authority,
            set,
            names: names.into(),
            dir,
        }
    }

    /// The image's name for engines that reach the worker at `host`.
    pub fn image(&self, host: &str) -> String {
        format!("{host}/{REPOSITORY}:docker")
    }

    /// The worker's address.
    pub fn host(&self) -> String {
        self.worker.addr().to_string()
    }

    /// The expected variant of the image for the host of `login`.
    pub fn expected(&self, login: &Login) -> &Image {
        let is_broadwell = login.name == self.type1.name;
        &self.set.images[if is_broadwell { 2 } else { 1 }]
    }

    /// A directory in the layout of docker's and podman's `certs.d`: the
    /// authority's certificate, and a host's certificate for `login` with its
    /// key.
    pub fn certificates(&self, login: &str) -> PathBuf {
        let dir = self.dir.path().join(format!("host-{login}"));
        fs::create_dir_all(&dir).expect("a directory can be made");
        fs::write(dir.join("ca.crt"), self.authority.pem()).expect("it can be written");
        let identity = self.authority.client(login);
        identity.write(&dir, "client.cert", "client.key");
        dir
    }

    /// A directory in the layout of containerd's `certs.d`: `hosts.toml` for
    /// the worker only, with the files of [`Self::certificates`].
    pub fn hosts_dir(&self, login: &str) -> PathBuf {
        let (host, files) = (self.host(), self.certificates(login));
        let dir = files.join("hosts");
        let file = |name: &str| files.join(name).display().to_string();
        let (ca, cert, key) = (file("ca.crt"), file("client.cert"), file("client.key"));
        let keys = format!("ca = '{ca}'\nclient = [['{cert}', '{key}']]\n");
        let toml = format!(
            "server = 'https://{host}'\n{keys}[host.'https://{host}']\ncapabilities = ['pull', 'resolve']\n{keys}"
        );
        fs::create_dir_all(dir.join(&host)).expect("a directory can be made");
        fs::write(dir.join(&host).join("hosts.toml"), toml).expect("it can be written");
        dir
    }

    /// Replaces the worker's certificate, then its key.
    pub fn rotate_certificate(&self) {
        write_certificate(&self.authority, &self.names, self.dir.path());
    }
}

fn write_certificate(authority: &Authority, names: &[String], dir: &Path) {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    authority.identity_of(&names).write(dir, CERTIFICATE, KEY);
}
