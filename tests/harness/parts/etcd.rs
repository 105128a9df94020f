//! An etcd cluster of three nodes.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::process::Command;

use super::answers;
use crate::{port::free_addr, process::Process, program::Program};

const ETCD: Program = Program {
    name: "etcd",
    install: "install the Debian package etcd-server",
};
const ETCDCTL: Program = Program {
    name: "etcdctl",
    install: "install the Debian package etcd-client",
};
const NODES: usize = 3;

/// Three nodes on free ports of loopback.
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
    process: Option<Process>,
}

impl Etcd {
    /// Starts a cluster, and waits until it has a leader.
    pub async fn start() -> Self {
        let node = |n| Node {
            name: format!("n{n}"),
            client: free_addr(),
            peer: free_addr(),
            process: None,
        };
        let mut etcd = Self {
            nodes: (0..NODES).map(node).collect(),
            dir: TempDir::new().expect("a temporary directory"),
        };
        for n in 0..NODES {
            etcd.spawn(n);
        }
        etcd.elected().await;
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

    /// The node that leads.
    pub async fn leader(&self) -> usize {
        for (n, node) in self.nodes.iter().enumerate() {
            if node.process.is_some() && self.leads(n).await {
                return n;
            }
        }
        panic!("no node leads");
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

    /// Forgets all revisions but the newest.
    pub async fn compact(&self) {
        let (_, status) = self.ctl(0, &["get", "x", "-w=fields"]).await;
        let revision = status
            .lines()
            .find_map(|it| it.strip_prefix("\"Revision\" : "));
        let revision = revision.expect("etcd says its revision").to_owned();
        let (compacted, said) = self.ctl(0, &["compact", &revision]).await;
        assert!(compacted, "{said}");
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
        let members = self
            .nodes
            .iter()
            .map(|it| format!("{}=http://{}", it.name, it.peer));
        let members: Vec<String> = members.collect();
        let node = &self.nodes[n];
        let (url, peer) = (node.url(), format!("http://{}", node.peer));
        let args = [
            format!("--name={}", node.name),
            format!("--data-dir={}", self.dir.path().join(&node.name).display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", members.join(",")),
        ];
        let process = Process::start(&node.name, &ETCD.path(), args, self.dir.path());
        self.nodes[n].process = Some(process);
    }

    fn process(&self, n: usize) -> &Process {
        let process = self.nodes[n].process.as_ref();
        process.expect("the node runs")
    }
}

impl Node {
    fn url(&self) -> String {
        format!("http://{}", self.client)
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
