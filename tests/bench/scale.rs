//! What many workers and many logins cost the control plane: how long a change
//! takes to reach all, how long a restart, and how much memory.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests --bench scale
//! ```
//!
//! The control plane is a process of its own. All workers are in this process,
//! on the same cores: `tests/harness/swarm.rs` tells what is real in them.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use clap::Parser as _;
use metahub_tests::{
    admin::{Admin, Login},
    control::{ControlProcess, Place},
    parts::Etcd,
    port::free_addr,
    swarm::{Swarm, cpu_time, fill, memory_kib, revision},
    worker::{Ports, WorkerProcess},
};

/// Measures the control plane with many workers.
#[derive(Debug, clap::Parser)]
struct Config {
    /// What to measure, as `WORKERS:LOGINS`. Each login has its own machine
    /// type.
    #[arg(
        long = "size",
        value_delimiter = ',',
        default_value = "10:10000,100:10000,1000:10000,100:100,100:100000"
    )]
    sizes: Vec<String>,

    /// How many changes, and how many revocations.
    #[arg(long, default_value_t = 30)]
    changes: usize,

    /// Over TLS: each worker joins, and shows its certificate from then on.
    #[arg(long)]
    tls: bool,

    /// Over three nodes of etcd, on this machine, instead of SQLite.
    #[arg(long)]
    etcd: bool,

    /// What cargo says to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one size costs.
#[derive(Debug)]
struct Row {
    workers: usize,
    logins: usize,
    /// Until every worker has read the whole policy, from when all start.
    first: Duration,
    /// What of the cores the control plane took for that.
    first_cpu: Duration,
    /// From the admin's call to each worker, all calls and workers together.
    changes: Vec<Duration>,
    revocations: Vec<Duration>,
    /// Until every worker serves a change made once it is back, from the kill.
    restart: Duration,
    /// Of the control plane: without workers, with all, and at most over a
    /// restart.
    alone_kib: u64,
    with_all_kib: u64,
    peak_kib: u64,
    /// Of a whole worker that has done nothing but take the policy.
    worker_kib: u64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let config = Config::parse();
    let mut out = io::stdout();
    out.write_all(HEAD.as_bytes())?;
    for size in &config.sizes {
        let (workers, logins) = size.split_once(':').expect("a size is WORKERS:LOGINS");
        let [workers, logins] = [workers, logins].map(|it| it.parse().expect("a number"));
        let row = measure(&config, workers, logins).await;
        out.write_all(row.line().as_bytes())?;
    }
    Ok(())
}

async fn measure(config: &Config, workers: usize, logins: usize) -> Row {
    let (place, _etcd) = config.place().await;
    fill(&place, logins).await;
    let control = ControlProcess::start_at(place).await;
    let mut admin = control.place().admin();
    let number = revision(&mut admin).await;
    let [alone_kib, _] = memory_kib(control.pid());

    let start = Start::of(config, &control, workers, number).await;
    let swarm = &start.swarm;
    let mut turn = Turn {
        swarm,
        number: revision(&mut admin).await,
    };
    let (mut changes, mut revocations) = (Vec::new(), Vec::new());
    for n in 0..config.changes {
        let (login, times) = turn.create(&mut admin, n).await;
        changes.extend(times);
        revocations.extend(turn.revoke(&mut admin, &login).await);
    }
    let [with_all_kib, peak_before] = memory_kib(control.pid());

    let began = Instant::now();
    let control = ControlProcess::start_at(control.kill()).await;
    let mut admin = control.place().admin();
    turn.create(&mut admin, config.changes).await;
    let restart = began.elapsed();
    admin.all_current(workers).await;
    let [_, peak] = memory_kib(control.pid());
    let whole = WorkerProcess::start(control.place(), Ports::free(), 0).await;
    let [worker_kib, _] = memory_kib(whole.pid());
    assert_eq!(swarm.mismatches(), 0, "all copies are right");
    changes.sort_unstable();
    revocations.sort_unstable();
    Row {
        workers,
        logins,
        first: start.took,
        first_cpu: start.cpu,
        changes,
        revocations,
        restart,
        alone_kib,
        with_all_kib,
        peak_kib: peak.max(peak_before),
        worker_kib,
    }
}

impl Config {
    /// Where the control plane is to be, and its cluster.
    async fn place(&self) -> (Place, Option<Etcd>) {
        let mut flags = Vec::new();
        if self.tls {
            flags.push("--tls".to_owned());
        }
        let mut cluster = None;
        if self.etcd {
            let etcd = cluster.insert(Etcd::start().await);
            flags.push(format!("--store={}", etcd.store()));
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        (Place::at(free_addr()).with(&flags), cluster)
    }

    /// Workers, as they are at this.
    async fn swarm(&self, control: &Place, workers: usize) -> Swarm {
        if !self.tls {
            return Swarm::start(control, workers);
        }
        let token = control.admin().create_join_token("scale", 0).await;
        let file = control.dir().join("join-token");
        fs::write(&file, token).expect("there is room");
        Swarm::join(control, workers, &file)
    }
}

/// Workers that have started with nothing.
struct Start {
    swarm: Swarm,
    took: Duration,
    cpu: Duration,
}

impl Start {
    /// Returns once all serve the whole policy, which is at this revision.
    async fn of(config: &Config, control: &ControlProcess, workers: usize, number: u64) -> Self {
        let (began, cpu) = (Instant::now(), cpu_time(control.pid()));
        let swarm = config.swarm(control.place(), workers).await;
        swarm.await_revision(number).all().await;
        Self {
            swarm,
            took: began.elapsed(),
            cpu: cpu_time(control.pid()).saturating_sub(cpu),
        }
    }
}

/// One change after the other.
struct Turn<'a> {
    swarm: &'a Swarm,
    number: u64,
}

impl Turn<'_> {
    /// Creates a machine type with its login.
    async fn create(&mut self, admin: &mut Admin, n: usize) -> (Login, Vec<Duration>) {
        self.number += 1;
        let arrivals = self.swarm.await_revision(self.number);
        let name = format!("new{n:04}");
        let login = admin.create_type("fill", &name, &["cpu:zen4"]).await;
        (login, arrivals.all().await)
    }

    async fn revoke(&mut self, admin: &mut Admin, login: &Login) -> Vec<Duration> {
        self.number += 1;
        let arrivals = self.swarm.await_revision(self.number);
        admin.delete_login(&login.name).await;
        let times = arrivals.all().await;
        assert_eq!(self.swarm.knowing(&login.name), 0, "all refuse it");
        times
    }
}

const HEAD: &str = "\
| workers | logins | first policy s | of that control's CPU s | change p50 ms | p99 ms | most ms | revocation p99 ms | most ms | restart s | RSS alone MiB | with all MiB | most MiB | a worker's RSS MiB |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";

impl Row {
    fn line(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {:.1} | {} | {} | {} | {} |",
            self.workers,
            self.logins,
            self.first.as_secs_f64(),
            self.first_cpu.as_secs_f64(),
            millis(&self.changes, 50),
            millis(&self.changes, 99),
            millis(&self.changes, 100),
            millis(&self.revocations, 99),
            millis(&self.revocations, 100),
            self.restart.as_secs_f64(),
            self.alone_kib / 1024,
            self.with_all_kib / 1024,
            self.peak_kib / 1024,
            self.worker_kib / 1024,
        );
        text
    }
}

/// The time that so many of a hundred did not exceed.
fn millis(sorted: &[Duration], percent: usize) -> u128 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or(0, Duration::as_millis)
}
