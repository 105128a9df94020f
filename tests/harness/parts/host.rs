//! A host of a cluster: its own network with `metahub-node` in it.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc};

use tempfile::TempDir;

use crate::{
    admin::Login,
    invocation::run,
    node::credential,
    parts::{Cluster, Network, answers},
    process::Process,
    program::ours,
    tls_front::TlsFront,
};

/// A host with the identity of one login. Its engines reach the node proxy at
/// [`Host::NODE`], and other registries only through it.
#[derive(Debug)]
pub struct Host {
    node: Process,
    network: Arc<Network>,
    _front: TlsFront,
    _dir: TempDir,
}

impl Host {
    /// The node proxy's address for engines, the same on each host.
    pub const NODE: &str = "127.0.0.1:5000";

    /// Starts a host with the credential of `login`. Waits until its node proxy
    /// listens.
    pub async fn start(cluster: &Cluster, login: &Login) -> Self {
        Self::start_with(cluster, async |front, file| {
            let mut credential = credential(&front.url(), login);
            credential.registry_ca_pem = Some(front.ca_pem());
            credential.write(file).expect("the credential is written");
        })
        .await
    }

    /// Starts a host that joins by the host token in a file, with one feature.
    /// Its node proxy uses the credential that `metahubctl host login` wrote.
    pub async fn join(cluster: &Cluster, token: &Path, id: &str, feature: &str) -> Self {
        Self::start_with(cluster, async |front, file| {
            let authority = file.with_extension("pem");
            fs::write(&authority, front.ca_pem()).expect("it can be written");
            let args = [
                "host".to_owned(),
                "login".into(),
                format!("--control={}", cluster.control.place().url()),
                format!("--token-file={}", token.display()),
                format!("--registry={}", front.url()),
                format!("--registry-ca-file={}", authority.display()),
                format!("--host-id={id}"),
                format!("--feature={feature}"),
                format!("--credential={}", file.display()),
            ];
            run(&ours("metahubctl"), args).await.text();
            cluster
                .admin
                .clone()
                .all_current(cluster.workers.len())
                .await;
        })
        .await
    }

    async fn start_with(cluster: &Cluster, log_in: impl AsyncFnOnce(&TlsFront, &Path)) -> Self {
        let network = Arc::new(Network::apart());
        let front = TlsFront::before_at(network.addr(), cluster.traefik.addr()).await;
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("host.json");
        log_in(&front, &file).await;
        let mut host = Self {
            node: start_node(&network, &file, dir.path()),
            network,
            _front: front,
            _dir: dir,
        };
        host.listens().await;
        host
    }

    /// The host's network.
    pub fn network(&self) -> Arc<Network> {
        self.network.clone()
    }

    /// The host's address for hosts on joined networks.
    pub fn addr(&self) -> Ipv4Addr {
        self.network.far()
    }

    /// Ends the host's node proxy.
    pub fn stop_node(&mut self) {
        self.node.kill();
    }

    async fn listens(&mut self) {
        let (address, port) = Self::NODE.split_once(':').expect("an address has a port");
        let connect = format!("exec 3<>/dev/tcp/{address}/{port}");
        let args = vec!["-c".to_owned(), connect];
        let (program, args) = self.network.enter("bash".into(), args);
        answers(&mut self.node, async || {
            run(&program, &args).await.status.success()
        })
        .await;
    }
}

fn start_node(network: &Network, credential: &Path, dir: &Path) -> Process {
    let args = vec![
        format!("--credential={}", credential.display()),
        format!("--listen={}", Host::NODE),
    ];
    let (program, args) = network.enter(ours("metahub-node"), args);
    Process::start_careless("metahub-node", &program, args, dir)
}
