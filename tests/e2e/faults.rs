//! Faults between the planes, and how soon every worker's policy is the control
//! plane's again.

use std::{net::SocketAddr, time::Duration};

use metahub_tests::{
    admin::Admin,
    control::{ControlProcess, Place},
    parts::Network,
    port::free_addr_at,
    process::Process,
    program::ours,
    wait::eventually,
    worker::{self, Ports, WorkerProcess, readiness},
};
use tempfile::TempDir;
use tokio::time::interval;

/// How long workers may be behind once a fault is over.
const SOON: Duration = Duration::from_secs(5);
const FAR: usize = 2;
const NEAR: usize = 2;

/// A control plane, workers beside it, and workers behind a cable.
struct Planes {
    network: Network,
    control: ControlProcess,
    port: u16,
    admin: Admin,
    types: usize,
    near: Vec<WorkerProcess>,
    far: Vec<SocketAddr>,
    _processes: Vec<Process>,
    _dir: TempDir,
}

impl Planes {
    async fn start() -> Self {
        let network = Network::apart();
        let addr = free_addr_at(network.addr());
        let control = ControlProcess::start_with(Place::at(addr), &["--insecure"]).await;
        let mut admin = control.place().admin();
        admin.create_user("qnib").await;
        let (mut near, ports) = (Vec::new(), Ports::free());
        for n in 0..NEAR {
            let n = u8::try_from(n).expect("few");
            near.push(WorkerProcess::start(control.place(), ports, n).await);
        }
        let dir = TempDir::new().expect("a temporary directory");
        let (mut far, mut processes) = (Vec::new(), Vec::new());
        for n in 0..FAR {
            let [registry, admin] = [0, 1].map(|_| free_addr_at(network.addr()).port());
            let [registry, admin] =
                [registry, admin].map(|port| SocketAddr::from((network.far(), port)));
            let args = worker::args(control.place(), registry, admin);
            let (program, args) = network.enter(ours("metahub-worker"), args);
            processes.push(Process::start(
                &format!("far{n}"),
                &program,
                args,
                dir.path(),
            ));
            far.push(admin);
        }
        admin.all_current(NEAR + FAR).await;
        Self {
            network,
            control,
            port: addr.port(),
            admin,
            types: 0,
            near,
            far,
            _processes: processes,
            _dir: dir,
        }
    }

    /// Kills the control plane and starts it again, which all have to find.
    async fn restart_control(mut self) -> Self {
        let place = self.control.kill();
        self.control = ControlProcess::start_with(place, &["--insecure"]).await;
        self.admin = self.control.place().admin();
        self
    }

    async fn change(&mut self) {
        let name = format!("type{}", self.types);
        self.types += 1;
        self.admin
            .create_type("qnib", &name, &["cpu:skylake"])
            .await;
    }

    async fn all_current_soon(&mut self) {
        self.admin.all_current_within(SOON, NEAR + FAR).await;
    }

    async fn far_workers_notice(&self) {
        for admin in &self.far {
            notices(*admin).await;
        }
    }
}

/// Waits until the worker says that it does not hear its control plane.
async fn notices(admin: SocketAddr) {
    eventually("the worker misses its control plane", async || {
        let said = readiness(admin).await.unwrap_or_default();
        said.contains("not confirmed for")
    })
    .await;
}

#[tokio::test]
async fn workers_catch_up_with_a_control_plane_that_was_paused() {
    let mut planes = Planes::start().await;
    planes.control.pause();
    planes.far_workers_notice().await;
    for worker in &planes.near {
        notices(worker.admin_addr()).await;
    }

    planes.control.resume();
    planes.change().await;

    planes.all_current_soon().await;
}

#[tokio::test]
async fn workers_that_were_cut_off_catch_up_and_the_others_never_wait() {
    let mut planes = Planes::start().await;
    planes.network.lose(1.0, planes.port);

    planes.change().await;
    planes.admin.all_current_within(SOON, NEAR).await;
    planes.far_workers_notice().await;
    planes.change().await;
    planes.network.heal();

    planes.all_current_soon().await;
}

#[tokio::test]
async fn workers_behind_a_cable_that_loses_packets_end_up_current() {
    let mut planes = Planes::start().await;
    planes.network.lose(0.2, planes.port);

    let mut seconds = interval(Duration::from_secs(1));
    for second in 0..60 {
        seconds.tick().await;
        if second == 30 {
            planes = planes.restart_control().await;
            planes.admin.all_current(NEAR + FAR).await;
        }
        planes.change().await;
    }
    planes.admin.all_current(NEAR + FAR).await;
    let dropped = planes.network.dropped();
    assert!(dropped > 50, "{dropped}");
    planes.network.heal();
    planes.change().await;

    planes.all_current_soon().await;
}
