//! What stands in the place of Docker Hub: engines that go there are noticed.

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The hosts that engines know Docker Hub by.
const NAMES: &str = "docker.io index.docker.io registry-1.docker.io auth.docker.io";

/// A Docker Hub that closes every connection.
#[derive(Debug)]
pub struct DockerHub {
    asked: Arc<AtomicUsize>,
    /// The directory of a file of hosts by which Docker Hub is here.
    dir: TempDir,
    _stop: DropGuard,
}

impl DockerHub {
    /// Starts one at an address of its own. Needs root, for port 443.
    pub async fn start() -> Self {
        let (listener, ip) = https_listener().await;
        let dir = TempDir::new().expect("a temporary directory");
        let hosts = format!("127.0.0.1 localhost\n{ip} {NAMES}\n");
        fs::write(dir.path().join("hosts"), hosts).expect("it can be written");
        let (asked, stop) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let count = asked.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Relaxed);
            }
        }));
        Self {
            asked,
            dir,
            _stop: stop.drop_guard(),
        }
    }

    /// How often an engine has connected.
    pub fn connections(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// The program that runs another where Docker Hub is here, with the arguments
    /// for that.
    pub fn enter(&self, program: PathBuf, args: Vec<String>) -> (PathBuf, Vec<String>) {
        let hosts = self.dir.path().join("hosts");
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let mut all = ["--mount", "sh", "-c", script].map(String::from).to_vec();
        all.push(hosts.display().to_string());
        all.push(program.display().to_string());
        all.extend(args);
        ("unshare".into(), all)
    }
}

/// Port 443 of a loopback address that nobody else uses.
pub(crate) async fn https_listener() -> (TcpListener, Ipv4Addr) {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    for _ in 0..u8::MAX {
        let ip = Ipv4Addr::new(127, high | 1, low, NEXT.fetch_add(1, Relaxed));
        match TcpListener::bind((ip, 443)).await {
            Ok(listener) => return (listener, ip),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("this test must run as root: {error}"),
        }
    }
    panic!("no loopback address has a free port 443");
}
