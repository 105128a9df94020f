//! Workers that may open few files.

use std::{net::SocketAddr, time::Instant};

use metahub_cli::demo::image::Form;
use metahub_tests::{
    client::RegistryClient,
    port::free_addr,
    process::Process,
    program::ours,
    site::Site,
    wait::eventually,
    worker::{self, readiness},
};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A worker whose soft and hard limits of open files are these.
async fn limited(site: &Site, limits: &str, dir: &TempDir) -> (Process, SocketAddr, SocketAddr) {
    let (addr, admin) = (free_addr(), free_addr());
    let mut args = vec![
        format!("--nofile={limits}"),
        "--".into(),
        ours("metahub-worker").display().to_string(),
    ];
    args.extend(worker::args(site.control.place(), addr, admin));
    let process = Process::start("worker", "prlimit".as_ref(), args, dir.path());
    eventually("it is ready", async || readiness(admin).await.is_some()).await;
    (process, addr, admin)
}

/// The files that a process has open.
fn open_files(process: &Process) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.pid()));
    files.expect("it runs").count()
}

#[tokio::test]
async fn a_host_logs_in_at_once_where_silent_connections_take_all_that_a_worker_may_open() {
    let site = Site::start_with(0, Form::Docker, &[]).await;
    let dir = TempDir::new().expect("a temporary directory");
    let (process, addr, admin) = limited(&site, "128:128", &dir).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.extend(TcpStream::connect(addr).await.ok());
    }

    let began = Instant::now();
    eventually("a host is let in", async || {
        let client = RegistryClient::new(addr, &site.type1);
        let request = client.request(http::Method::GET, "/v2/").send();
        request.await.is_ok_and(|it| it.status() == 200)
    })
    .await;

    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert!(open_files(&process) < 128, "{}", open_files(&process));
    let state = readiness(admin).await.expect("health is served");
    assert!(state.contains("limit of 128 open files"), "{state}");
    assert!(process.log().contains("limit of 128 open files"));
    drop(silent);
}

#[tokio::test]
async fn a_worker_raises_its_soft_limit_of_open_files() {
    let site = Site::start_with(0, Form::Docker, &[]).await;
    let dir = TempDir::new().expect("a temporary directory");
    let (process, ..) = limited(&site, "128:2048", &dir).await;

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid()));

    let limits = limits.expect("it runs");
    let files = limits.lines().find(|it| it.starts_with("Max open files"));
    let soft = files.and_then(|it| it.split_whitespace().nth(3));
    assert_eq!(soft, Some("2048"), "{limits}");
}
