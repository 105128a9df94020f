//! Workers: inside the test, or as a process that can be killed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use clap::Parser as _;
use metahub_worker::{App, Config};
use tempfile::TempDir;

use crate::{
    control::Place, port::free_addr, process::Process, running::Running, wait::eventually,
};

/// A worker that serves inside the test until it is dropped.
#[derive(Debug)]
pub struct Worker {
    registry: SocketAddr,
    admin: SocketAddr,
    running: Running,
}

impl Worker {
    /// Starts one that follows the control plane at `control`, and waits until
    /// it is ready.
    pub async fn start(control: &Place) -> Self {
        Self::start_with(control, &[]).await
    }

    /// Starts one with more flags.
    pub async fn start_with(control: &Place, flags: &[&str]) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut args = args(control, any, any);
        args.extend(flags.iter().map(|flag| (*flag).into()));
        Self::run(args).await
    }

    /// Starts one that has no worker token, and trusts no authority, but for
    /// what the flags say.
    pub async fn start_bare(control: &Place, flags: &[&str]) -> Self {
        Self::run(bare_args(control, flags)).await
    }

    async fn run(args: Vec<String>) -> Self {
        let program = ["metahub-worker".to_owned()];
        let app = App::bind(Config::parse_from(program.into_iter().chain(args)))
            .await
            .expect("the worker binds");
        let (registry, admin) = (app.registry_addr(), app.admin_addr());
        let running = Running::spawn(|shutdown| app.run(shutdown));
        eventually("the worker is ready", async || is_ready(admin).await).await;
        Self {
            registry,
            admin,
            running,
        }
    }

    /// Where it serves the registry API.
    pub fn addr(&self) -> SocketAddr {
        self.registry
    }

    /// Where it serves health and metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// What its metrics say of `name`, which is a number without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.admin);
        let answer = reqwest::get(url).await.expect("the worker has metrics");
        let text = answer.text().await.expect("metrics are text");
        let line = text
            .lines()
            .find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}"))
            .parse()
            .expect("it is a number")
    }

    /// Shuts it down, and waits until it has drained.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

/// A worker that is a process of its own.
///
/// Workers of one [`Ports`] differ by their loopback address alone, as those in
/// containers do, so that a load balancer can ask each for its health.
#[derive(Debug)]
pub struct WorkerProcess {
    process: Process,
    registry: SocketAddr,
    admin: SocketAddr,
    control: Place,
    flags: Vec<String>,
    dir: TempDir,
}

/// The ports that all workers of a fleet have.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    registry: u16,
    /// The port of health and metrics.
    pub admin: u16,
}

impl Ports {
    /// Two free ports.
    pub fn free() -> Self {
        Self {
            registry: free_addr().port(),
            admin: free_addr().port(),
        }
    }
}

impl WorkerProcess {
    /// Starts the `n`th worker of a fleet, from 0, and waits until it is ready.
    pub async fn start(control: &Place, ports: Ports, n: u8) -> Self {
        Self::start_with(control, ports, n, &[]).await
    }

    /// Starts one with more flags.
    pub async fn start_with(control: &Place, ports: Ports, n: u8, flags: &[&str]) -> Self {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10 + n));
        let registry = SocketAddr::new(ip, ports.registry);
        let admin = SocketAddr::new(ip, ports.admin);
        let dir = TempDir::new().expect("a temporary directory");
        let process = spawn(control, [registry, admin], &flags, &dir);
        let mut worker = Self {
            process,
            registry,
            admin,
            control: control.clone(),
            flags,
            dir,
        };
        worker.ready().await;
        worker
    }

    /// Where it serves the registry API.
    pub fn addr(&self) -> SocketAddr {
        self.registry
    }

    /// Where it serves health and metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Whether it has a connection from this port of its own.
    pub fn has_port(&self, port: u16) -> bool {
        self.process.has_port(port)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How much memory it has, in MiB.
    pub fn rss_mib(&self) -> u64 {
        self.process.rss_mib()
    }

    /// Stops it where it is.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Shuts it down as an orchestrator does, waits until it has drained,
    /// starts it again, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.process.terminate();
        let process = &mut self.process;
        eventually("the worker drains", async || !process.is_running()).await;
        let addrs = [self.registry, self.admin];
        self.process = spawn(&self.control, addrs, &self.flags, &self.dir);
        self.ready().await;
    }

    async fn ready(&mut self) {
        let Self { process, admin, .. } = self;
        eventually("the worker is ready", async || {
            assert!(process.is_running(), "it ended\n{}", process.tail());
            is_ready(*admin).await
        })
        .await;
    }
}

fn spawn(
    control: &Place,
    [registry, admin]: [SocketAddr; 2],
    flags: &[String],
    dir: &TempDir,
) -> Process {
    let mut args = args(control, registry, admin);
    // Workers of a fleet have one port: their address tells them apart.
    args.push(format!("--worker-id={registry}"));
    // Longer than traefik takes to find out.
    args.push("--drain-delay=2s".into());
    args.extend_from_slice(flags);
    Process::start_ours("metahub-worker", args, dir.path())
}

/// The flags of a worker that serves at these addresses.
pub fn args(control: &Place, registry: SocketAddr, admin: SocketAddr) -> Vec<String> {
    vec![
        format!("--control={}", control.url()),
        format!("--ca-file={}", control.ca_file().display()),
        format!("--token-file={}", control.worker_token_file().display()),
        format!("--registry-addr={registry}"),
        format!("--admin-addr={admin}"),
    ]
}

/// What `/readyz` says at an admin address, once it is 200.
pub async fn readiness(admin: SocketAddr) -> Option<String> {
    let answer = reqwest::get(format!("http://{admin}/readyz")).await.ok()?;
    answer.error_for_status().ok()?.text().await.ok()
}

fn bare_args(control: &Place, flags: &[&str]) -> Vec<String> {
    let own = [
        format!("--control={}", control.url()),
        "--registry-addr=127.0.0.1:0".into(),
        "--admin-addr=127.0.0.1:0".into(),
    ];
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    own.into_iter().chain(flags).collect()
}

/// Starts a worker as a process that has no worker token, and trusts no
/// authority, but for what the flags say. Does not wait: it may never be ready.
pub fn spawn_bare(control: &Place, flags: &[&str], dir: &Path) -> Process {
    Process::start_ours("metahub-worker", bare_args(control, flags), dir)
}

async fn is_ready(admin: SocketAddr) -> bool {
    readiness(admin).await.is_some()
}
