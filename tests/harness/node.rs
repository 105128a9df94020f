//! The node proxy of a host, run as a process.

use std::{net::SocketAddr, path::PathBuf};

use metahub_host::credential::HostCredential;
use tempfile::TempDir;

use crate::{
    admin::Login, client::RegistryClient, parts::answers, port::free_addr, process::Process,
    program::ours,
};

/// A node proxy with its own credential file.
#[derive(Debug)]
pub struct NodeProcess {
    process: Process,
    addr: SocketAddr,
    dir: TempDir,
}

impl NodeProcess {
    /// Starts a node proxy that forwards to `registry`, for example
    /// `http://127.0.0.1:80`, as `login`. Waits until it answers.
    pub async fn start(registry: &str, login: &Login) -> Self {
        Self::start_with(registry, login, &[]).await
    }

    /// Starts a node proxy with additional flags.
    pub async fn start_with(registry: &str, login: &Login, flags: &[&str]) -> Self {
        Self::start_as(&credential(registry, login), flags).await
    }

    /// Starts a node proxy with this credential and additional flags.
    pub async fn start_as(credential: &HostCredential, flags: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("host.json");
        credential.write(&file).expect("the credential is written");
        let addr = free_addr();
        let mut args = vec![
            format!("--listen={addr}"),
            format!("--credential={}", file.display()),
            "--log=debug,hickory_resolver=warn".into(),
        ];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let program = ours("metahub-node");
        let mut process = Process::start("metahub-node", &program, args, dir.path());
        answers(&mut process, async || {
            let answer = reqwest::get(format!("http://{addr}/v2/")).await;
            answer.is_ok_and(|it| it.status().is_success())
        })
        .await;
        Self { process, addr, dir }
    }

    /// A client of the node proxy without a login.
    pub fn client(&self) -> RegistryClient {
        RegistryClient::anonymous(self.addr)
    }

    /// The node proxy's address for engines.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces the node proxy's credential.
    pub fn log_in(&self, registry: &str, login: &Login) {
        let credential = credential(registry, login);
        let written = credential.write(&self.credential_file());
        written.expect("the credential is written");
    }

    /// The path of the node proxy's credential file.
    pub fn credential_file(&self) -> PathBuf {
        self.dir.path().join("host.json")
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// True if the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The log of the process.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The resident memory of the process, in MiB.
    pub fn rss_mib(&self) -> u64 {
        self.process.rss_mib()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The credential of a host with `login` at `registry`.
pub fn credential(registry: &str, login: &Login) -> HostCredential {
    HostCredential {
        schema: 1,
        registry: registry.parse().expect("a URL"),
        control: "http://127.0.0.1:1".parse().expect("a URL"),
        host_id: "node1".into(),
        machine_type: "qnib/type1".into(),
        login: login.name.clone(),
        secret: login.secret.clone().into(),
        registry_ca_pem: None,
        control_ca_pem: None,
        control_fingerprint: None,
        features: Vec::new(),
    }
}
