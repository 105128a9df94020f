//! A docker daemon of the test's own, and the docker program that talks to it.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

use tempfile::TempDir;

use crate::{
    invocation::{Outcome, run, run_with_input},
    parts::{answers, own_namespaces},
    process::Process,
    program::Program,
};

const DAEMON: Program = Program {
    name: "dockerd",
    install: "install the Debian package docker.io",
};
const CLIENT: Program = Program {
    name: "docker",
    install: "install the Debian package docker.io (or docker-cli)",
};
const IP: Program = Program {
    name: "ip",
    install: "install the Debian package iproute2",
};

/// A daemon with its own state, sockets and bridge.
///
/// It trusts registries on 127.0.0.0/8 without TLS, as docker does everywhere.
#[derive(Debug)]
pub struct Dockerd {
    process: Process,
    bridge: Bridge,
    client: PathBuf,
    socket: String,
    dir: TempDir,
}

impl Dockerd {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let bridge = Bridge::create();
        let socket = format!("unix://{}/docker.sock", dir.path().display());
        let (program, args) = own_namespaces(&DAEMON.path(), daemon_args(&dir, &bridge, &socket));
        let mut process = Process::start("dockerd", &program, args, dir.path());
        let client = CLIENT.path();
        answers(&mut process, async || {
            run(&client, ["-H", &socket, "version"])
                .await
                .status
                .success()
        })
        .await;
        Self {
            process,
            bridge,
            client,
            socket,
            dir,
        }
    }

    /// Runs docker with `args`, as a host with logins of its own.
    pub async fn docker(&self, args: &[&str]) -> Outcome {
        run(&self.client, self.with_place(args)).await
    }

    /// Logs in at `registry`. The login stays until the next one.
    pub async fn login(&self, registry: &str, login: &str, secret: &str) -> Outcome {
        let args = ["login", registry, "-u", login, "--password-stdin"];
        run_with_input(&self.client, self.with_place(&args), secret).await
    }

    /// Pulls an image.
    pub async fn pull(&self, image: &str) -> Outcome {
        self.docker(&["pull", image]).await
    }

    /// Runs an image that is here.
    pub async fn run(&self, image: &str) -> Outcome {
        let args = ["run", "--rm", "--pull=never", "--network=none", image];
        self.docker(&args).await
    }

    /// The digest that an image was pulled by.
    pub async fn repo_digests(&self, image: &str) -> Vec<String> {
        let args = ["inspect", "--format={{json .RepoDigests}}", image];
        let text = self.docker(&args).await.text();
        serde_json::from_str(&text).expect("docker prints a list of names")
    }

    /// Where its API is, as `DOCKER_HOST` says it.
    pub fn host(&self) -> &str {
        &self.socket
    }

    /// Where its containers find what listens on this machine.
    pub fn gateway(&self) -> Ipv4Addr {
        self.bridge.addr
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn with_place(&self, args: &[&str]) -> Vec<String> {
        let config = self.dir.path().join("client");
        let place = ["-H", &self.socket, "--config", &config.to_string_lossy()].map(String::from);
        place
            .into_iter()
            .chain(args.iter().map(|a| (*a).into()))
            .collect()
    }
}

fn daemon_args(dir: &TempDir, bridge: &Bridge, socket: &str) -> Vec<String> {
    let path = |name: &str| dir.path().join(name).display().to_string();
    vec![
        format!("--data-root={}", path("data")),
        format!("--exec-root={}", path("exec")),
        format!("--pidfile={}", path("dockerd.pid")),
        format!("--host={socket}"),
        format!("--bridge={}", bridge.name),
        "--iptables=false".into(),
        "--ip-forward=false".into(),
        "--ip-masq=false".into(),
        format!("--default-address-pool={}", bridge.pool),
    ]
}

/// A network bridge, so that the daemon leaves those of others alone.
#[derive(Debug)]
struct Bridge {
    name: String,
    addr: Ipv4Addr,
    /// The subnet of the one further network that the daemon can make.
    pool: String,
}

impl Bridge {
    fn create() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let [_, _, high, low] = pid.to_be_bytes();
        let bridge = Self {
            name: format!("mh{pid}x{n}"),
            addr: Ipv4Addr::new(10, 64 + high % 128, low, n % 16 * 16 + 1),
            pool: format!(
                "base=10.{}.{low}.{}/28,size=28",
                192 + high % 64,
                n % 16 * 16
            ),
        };
        let subnet = format!("{}/28", bridge.addr);
        bridge.ip(&["link", "add", "name", &bridge.name, "type", "bridge"]);
        bridge.ip(&["addr", "add", &subnet, "dev", &bridge.name]);
        bridge.ip(&["link", "set", &bridge.name, "up"]);
        bridge
    }

    fn ip(&self, args: &[&str]) {
        let done = Command::new(IP.path())
            .args(args)
            .output()
            .expect("ip starts");
        assert!(
            done.status.success(),
            "this test must run as root; ip {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new(Path::new("ip"))
            .args(["link", "delete", &self.name])
            .status();
    }
}
