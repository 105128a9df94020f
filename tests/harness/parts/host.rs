//! A host of a cluster: a network of its own, and `metahub-node` in it.

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

/// A host that has the identity of one login. Its engines reach its node proxy
/// at [`Host::NODE`], and no registry without it.
#[derive(Debug)]
pub struct Host {
    node: Process,
    network: Arc<Network>,
    _front: TlsFront,
    _dir: TempDir,
}

impl Host {
    /// Where a host's engines find its node proxy: the same on each host.
    pub const NODE: &str = "127.0.0.1:5000";

    /// Starts one that has the credential of `login`, and waits until its node
    /// proxy listens.
    pub async fn start(cluster: &Cluster, login: &Login) -> Self {
        Self::start_with(cluster, async |front, file| {
            let mut credential = credential(&front.url(), login);
            credential.registry_ca_pem = Some(front.ca_pem());
            credential.write(file).expect("the credential is written");
        })
        .await
    }

    /// The same for one that joins by the host token in a file, as a machine that
    /// has this feature. Its node proxy gets what `metahubctl host login` wrote.
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

    /// Its network.
    pub fn network(&self) -> Arc<Network> {
        self.network.clone()
    }

    /// Its address, as hosts see it that it is joined with.
    pub fn addr(&self) -> Ipv4Addr {
        self.network.far()
    }

    /// Ends its node proxy.
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
