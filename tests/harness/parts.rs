//! Real registries, load balancers and container engines.
//!
//! Each keeps all its state in a temporary directory, listens on a free port of
//! loopback, and ends with the test. One that is not on this machine fails the
//! test, and says what to install.

mod clock;
mod cluster;
mod containerd;
mod containers;
mod crane_registry;
mod docker_hub;
mod docker_registry;
mod dockerd;
mod etcd;
mod host;
mod host_root;
mod network;
mod oras;
mod secured;
mod slurm;
mod stream_proxy;
mod traefik;

use std::path::{Path, PathBuf};

pub use self::clock::Clock;
pub use self::cluster::Cluster;
pub use self::containerd::Containerd;
pub use self::containers::Containers;
pub use self::crane_registry::CraneRegistry;
pub use self::docker_hub::DockerHub;
pub(crate) use self::docker_hub::https_listener;
pub use self::docker_registry::{ACCOUNT, DockerRegistry};
pub use self::dockerd::Dockerd;
pub use self::etcd::Etcd;
pub use self::host::Host;
pub use self::host_root::HostRoot;
pub use self::network::Network;
pub use self::oras::{OrasLogin, oras};
pub use self::secured::SecuredWorker;
pub use self::slurm::Slurm;
pub use self::stream_proxy::{Balancer, StreamProxy};
pub use self::traefik::{HealthCheck, Traefik};
use crate::{process::Process, wait::eventually};

/// Waits until `url` answers with 200.
async fn http_answers(process: &mut Process, url: &str) {
    answers(process, async || {
        reqwest::get(url)
            .await
            .is_ok_and(|r| r.status().is_success())
    })
    .await;
}

/// Waits until `ready` says true; fails at once when the program ends.
pub(crate) async fn answers(process: &mut Process, mut ready: impl AsyncFnMut() -> bool) {
    let what = format!("{process:?} answers");
    eventually(&what, async || {
        assert!(process.is_running(), "it ended\n{}", process.tail());
        ready().await
    })
    .await;
}

/// Runs a program with `hostname` as its machine's name.
fn own_hostname(hostname: &str, program: &Path, args: Vec<String>) -> (PathBuf, Vec<String>) {
    let set = r#"hostname "$0" && exec "$@""#;
    let mut all: Vec<String> = ["--uts", "sh", "-c", set, hostname]
        .map(String::from)
        .to_vec();
    all.push(program.display().to_string());
    all.extend(args);
    ("unshare".into(), all)
}

/// Puts a program into namespaces of its own for processes and mounts: what it
/// starts and mounts ends with it.
fn own_namespaces(program: &Path, args: Vec<String>) -> (PathBuf, Vec<String>) {
    let flags = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut all: Vec<String> = flags.map(String::from).to_vec();
    all.push(program.display().to_string());
    all.extend(args);
    ("unshare".into(), all)
}
