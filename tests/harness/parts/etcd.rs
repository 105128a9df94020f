//! An etcd cluster of three nodes.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::process::Command;

use super::{Network, answers};
use crate::{
    port::free_addr,
    process::Process,
    program::Program,
    wait::{eventually, within},
};

const ETCD: Program = Program {
    name: "etcd",
    install: "install the Debian package etcd-server",
};
const ETCDCTL: Program = Program {
    name: "etcdctl",
    install: "install the Debian package etcd-client",
};
const NODES: usize = 3;
/// Connections that were cut take their time to be made anew.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Three nodes, on free ports of loopback or in a network each.
#[derive(Debug)]
pub struct Etcd {
    nodes: Vec<Node>,
    dir: TempDir,
}

#[derive(Debug)]
struct Node {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    /// Where it is, if not beside the others.
    network: Option<Network>,
    process: Option<Process>,
}

impl Etcd {
    /// Starts a cluster, and waits until it has a leader.
    pub async fn start() -> Self {
        Self::start_in([(); NODES].map(|()| None)).await
    }

    /// The same with a network for each node, and a cable between any two.
    pub async fn start_apart() -> Self {
        let networks = [(); NODES].map(|()| Network::apart());
        for (n, network) in networks.iter().enumerate() {
            for other in &networks[n + 1..] {
                network.join(other);
            }
        }
        Self::start_in(networks.map(Some)).await
    }

    async fn start_in(networks: [Option<Network>; NODES]) -> Self {
        let nodes = networks.into_iter().enumerate();
        let mut etcd = Self {
            nodes: nodes.map(|(n, network)| Node::new(n, network)).collect(),
            dir: TempDir::new().expect("a temporary directory"),
        };
        etcd.restart_all().await;
        etcd
    }

    /// What `--store` is to be.
    pub fn store(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(Node::url).collect();
        format!("etcd:{}", urls.join(","))
    }

    /// The same, by way of one node only.
    pub fn store_by_way_of(&self, n: usize) -> String {
        format!("etcd:{}", self.nodes[n].url())
    }

    /// The node that leads, once there is one.
    pub async fn leader(&self) -> usize {
        let mut leader = None;
        eventually("a node leads", async || {
            for (n, node) in self.nodes.iter().enumerate() {
                if node.process.is_some() && self.leads(n).await {
                    leader = Some(n);
                }
            }
            leader.is_some()
        })
        .await;
        leader.expect("it was waited for")
    }

    /// Kills a node.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.nodes[n].process.take() {
            process.kill();
        }
    }

    /// Starts a node again with what it had.
    pub async fn restart(&mut self, n: usize) {
        self.spawn(n);
        self.elected().await;
    }

    /// Starts all nodes again with what they had.
    pub async fn restart_all(&mut self) {
        for n in 0..NODES {
            self.spawn(n);
        }
        self.elected().await;
    }

    /// Stops a node in its tracks: its connections stay, and nothing answers.
    pub fn freeze(&self, n: usize) {
        self.process(n).pause();
    }

    /// Lets a node go on.
    pub fn thaw(&self, n: usize) {
        self.process(n).resume();
    }

    /// Drops all packets between a node and the others. Clients still reach it.
    pub fn part(&self, n: usize) {
        self.network(n).part();
    }

    /// Drops all packets between a node and anyone.
    pub fn cut_off(&self, n: usize) {
        self.network(n).cut_off();
    }

    /// Lets all packets to and from a node through again.
    pub fn heal(&self, n: usize) {
        self.network(n).heal();
    }

    /// Waits until a node that was away has what the others have. One that has
    /// not, and another that fails, are two at a time.
    pub async fn caught_up(&self, n: usize) {
        within(CATCH_UP, "the node has caught up", async || {
            // By reading what is agreed upon.
            self.ctl(n, &["endpoint", "health"]).await.0
        })
        .await;
    }

    /// Saves a snapshot of all to `file`, while the cluster runs.
    pub async fn save(&self, file: &Path) {
        let file = file.display().to_string();
        eventually("a snapshot is saved", async || {
            self.ctl(0, &["snapshot", "save", &file]).await.0
        })
        .await;
    }

    /// Stops all nodes, and starts new ones in their places with what was
    /// saved to `file`.
    pub async fn restore(&mut self, file: &Path) {
        for n in 0..NODES {
            self.kill(n);
            let dir = self.data_dir(n);
            fs::remove_dir_all(&dir).expect("the node had a directory");
            let node = &self.nodes[n];
            let output = Command::new(ETCDCTL.path())
                .env("ETCDCTL_API", "3")
                .args(["snapshot", "restore"])
                .arg(file)
                .args([format!("--data-dir={dir}"), format!("--name={}", node.name)])
                .arg(format!("--initial-cluster={}", self.members()))
                .arg(format!("--initial-advertise-peer-urls={}", node.peer_url()))
                .output();
            let output = output.await.expect("etcdctl runs");
            assert!(output.status.success(), "{output:?}");
        }
        self.restart_all().await;
    }

    /// Forgets all revisions but the newest.
    pub async fn compact(&self) {
        eventually("etcd compacts", async || {
            let (_, status) = self.ctl(0, &["get", "x", "-w=fields"]).await;
            let mut lines = status.lines();
            let revision = lines.find_map(|it| it.strip_prefix("\"Revision\" : "));
            match revision {
                Some(revision) => self.ctl(0, &["compact", revision]).await.0,
                None => false,
            }
        })
        .await;
    }

    async fn elected(&mut self) {
        for n in 0..NODES {
            let Some(mut process) = self.nodes[n].process.take() else {
                continue;
            };
            answers(&mut process, async || {
                self.ctl(n, &["endpoint", "health"]).await.0
            })
            .await;
            self.nodes[n].process = Some(process);
        }
    }

    async fn leads(&self, n: usize) -> bool {
        let (_, status) = self.ctl(n, &["endpoint", "status", "-w=fields"]).await;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(" : ")?.1.to_owned()))
        };
        let leader = field("\"Leader\"");
        leader.is_some() && leader == field("\"MemberID\"")
    }

    /// Asks one node. Whether it did, and what it said.
    async fn ctl(&self, n: usize, args: &[&str]) -> (bool, String) {
        let output = Command::new(ETCDCTL.path())
            .env("ETCDCTL_API", "3")
            .args(["--command-timeout=3s", "--endpoints", &self.nodes[n].url()])
            .args(args)
            .output()
            .await
            .expect("etcdctl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    }

    fn spawn(&mut self, n: usize) {
        let node = &self.nodes[n];
        let (url, peer) = (node.url(), node.peer_url());
        let args = vec![
            format!("--name={}", node.name),
            format!("--data-dir={}", self.data_dir(n)),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", self.members()),
        ];
        let (program, args) = match &node.network {
            Some(network) => network.enter(ETCD.path(), args),
            None => (ETCD.path(), args),
        };
        let process = Process::start(&node.name, &program, args, self.dir.path());
        self.nodes[n].process = Some(process);
    }

    /// All nodes, as etcd wants to know them.
    fn members(&self) -> String {
        let members = self.nodes.iter();
        let members = members.map(|it| format!("{}={}", it.name, it.peer_url()));
        members.collect::<Vec<_>>().join(",")
    }

    fn data_dir(&self, n: usize) -> String {
        let dir = self.dir.path().join(&self.nodes[n].name);
        dir.display().to_string()
    }

    fn network(&self, n: usize) -> &Network {
        let network = self.nodes[n].network.as_ref();
        network.expect("the nodes are apart")
    }

    fn process(&self, n: usize) -> &Process {
        let process = self.nodes[n].process.as_ref();
        process.expect("the node runs")
    }
}

impl Node {
    fn new(n: usize, network: Option<Network>) -> Self {
        let addr = |port| match &network {
            Some(network) => SocketAddr::from((network.far(), port)),
            None => free_addr(),
        };
        Self {
            name: format!("n{n}"),
            client: addr(2379),
            peer: addr(2380),
            network,
            process: None,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // A node alone would wait for the others: they need not be asked.
        for n in 0..NODES {
            self.kill(n);
        }
    }
}
