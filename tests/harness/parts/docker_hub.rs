//! A stand-in for Docker Hub that counts the connections of engines.

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

/// The host names under which engines connect to Docker Hub.
const NAMES: &str = "docker.io index.docker.io registry-1.docker.io auth.docker.io";

/// A Docker Hub that closes every connection.
#[derive(Debug)]
pub struct DockerHub {
    asked: Arc<AtomicUsize>,
    /// The directory of an `/etc/hosts` with the stand-in's address.
    dir: TempDir,
    _stop: DropGuard,
}

impl DockerHub {
    /// Starts a stand-in at an unused address. Needs root, for port 443.
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

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// Wraps a program and its arguments, so that it resolves Docker Hub's
    /// names to this stand-in.
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

/// A listener on port 443 of an unused loopback address.
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
