//! What many clients of one large uncached blob cost: the upstream in bytes,
//! the clients in time to the first byte, the worker in memory.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests --bench blob-sharing
//! ```
//!
//! The worker is a process of its own, new for each row but `again`, which is
//! from the directory that the row before has filled.

#[path = "blob_sharing/file_server.rs"]
mod file_server;

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use clap::Parser as _;
use metahub_tests::{
    blob_host::{BlobHost, HugeBlob},
    blob_pull::{BlobPull, Pulled},
    control::ControlProcess,
    site::policy,
    worker::{Ports, WorkerProcess},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::file_server::FileServer;

/// How often one client pulls from each server.
const ROUNDS: usize = 5;
/// How many CPU times the kernel counts a second, on all of its platforms.
const TICKS: f64 = 100.0;

/// Measures what it costs to share one reading of a blob.
#[derive(Debug, clap::Parser)]
struct Config {
    /// How many clients pull at once.
    #[arg(long, default_value_t = 100)]
    clients: usize,

    /// How large the blob is, in MiB.
    #[arg(long, default_value_t = 1024)]
    mebibytes: u64,

    /// What cargo says to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let Config {
        clients, mebibytes, ..
    } = Config::parse();
    let blob = HugeBlob::new(mebibytes);
    let mut text = format!(
        "{clients} clients, one blob of {mebibytes} MiB\n\n\
         | clients | upstream bytes, blob = 1 | last first byte ms | RSS growth MiB | seconds |\n\
         |---|---:|---:|---:|---:|\n"
    );
    for half_leave in [false, true] {
        let site = Site::start(&blob, &[]).await;
        text += &site.row("through memory", clients, half_leave).await;
    }
    for half_leave in [false, true] {
        let dir = TempDir::new()?;
        let flag = format!("--blob-cache={}", dir.path().display());
        let site = Site::start(&blob, &[&flag]).await;
        text += &site.row("through a file", clients, half_leave).await;
        if !half_leave {
            text += &site.row("again", clients, half_leave).await;
            text += &from_disk(&site, dir.path()).await;
        }
    }
    io::stdout().write_all(text.as_bytes())
}

/// A worker that has done nothing before, and its upstream.
struct Site {
    upstream: BlobHost,
    worker: WorkerProcess,
    pull: BlobPull,
    _control: ControlProcess,
}

impl Site {
    async fn start(blob: &HugeBlob, flags: &[&str]) -> Self {
        let upstream = BlobHost::start(blob.clone()).await;
        let control = ControlProcess::start().await;
        let mut admin = control.place().admin();
        let (login, _) = policy(&mut admin, &upstream.url()).await;
        let worker = WorkerProcess::start_with(control.place(), Ports::free(), 0, flags).await;
        admin.all_current(1).await;
        let pull = BlobPull {
            worker: worker.addr(),
            login,
            repository: "qnib/large".into(),
            blob: blob.clone(),
        };
        Self {
            upstream,
            worker,
            pull,
            _control: control,
        }
    }

    /// One row: all clients at once.
    async fn row(&self, name: &str, clients: usize, half_leave: bool) -> String {
        let before = rss_mib(self.worker.pid());
        let sent = self.upstream.sent();
        let peak = Peak::watch(self.worker.pid());

        let began = Instant::now();
        let stayed = self.pull.by(clients, half_leave).await;
        let seconds = began.elapsed().as_secs_f64();

        let stayed = stayed.expect("every client that stays gets the blob");
        let sent = self.upstream.sent() - sent;
        let blobs = sent as f64 / self.pull.blob.size as f64;
        let growth = peak.highest() - before;
        let delay = last_first_byte(&self.upstream, &stayed).as_secs_f64() * 1e3;
        let leave = if half_leave {
            "half leave in the middle"
        } else {
            "all stay"
        };
        format!("| {name}, {leave} | {blobs:.3} | {delay:.1} | {growth} | {seconds:.1} |\n")
    }
}

/// What a blob from the disk costs, beside nginx with the same file.
async fn from_disk(site: &Site, dir: &Path) -> String {
    let Some(nginx) = FileServer::start(dir).await else {
        return String::new();
    };
    let beside = BlobPull {
        worker: nginx.addr,
        ..site.pull.clone()
    };
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let worker = cpu_of(site.worker.pid(), &site.pull).await;
        ratios.push(worker / cpu_of(nginx.process.pid(), &beside).await);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ROUNDS / 2];
    format!("\none client, from the disk: CPU of the worker, nginx = 1: {ratio:.1}\n\n")
}

/// The CPU seconds that one pull takes a server.
async fn cpu_of(pid: u32, pull: &BlobPull) -> f64 {
    let before = cpu_seconds(pid);
    let pulled = pull.up_to(pull.blob.size).await;
    pulled.expect("the blob is served");
    cpu_seconds(pid) - before
}

/// How much later than the upstream's first byte, and than its own request, a
/// client had its first byte: the longest of all.
fn last_first_byte(upstream: &BlobHost, pulled: &[Pulled]) -> Duration {
    let first = upstream.first_byte().expect("the upstream was asked");
    let delays = pulled
        .iter()
        .map(|it| it.first_byte.saturating_duration_since(first.max(it.asked)));
    delays.max().unwrap_or_default()
}

/// The most memory that a process has had since it is watched.
struct Peak {
    highest: Arc<AtomicU64>,
    _stop: tokio_util::sync::DropGuard,
}

impl Peak {
    fn watch(pid: u32) -> Self {
        let highest = Arc::new(AtomicU64::new(0));
        let (seen, stop) = (highest.clone(), CancellationToken::new());
        let watching = async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                seen.fetch_max(rss_mib(pid), Relaxed);
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        Self {
            highest,
            _stop: stop.drop_guard(),
        }
    }

    fn highest(&self) -> u64 {
        self.highest.load(Relaxed)
    }
}

/// The memory of a process; none of one that has ended.
fn rss_mib(pid: u32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return 0;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line
        .expect("the kernel tells")
        .trim()
        .trim_end_matches(" kB");
    digits.parse::<u64>().expect("it is a number") / 1024
}

/// The time that a process has spent, in itself and in the kernel.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    // The second field may hold spaces, but ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').expect("the kernel names the program");
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|it| it.parse::<f64>().ok());
    let both = ticks().zip(ticks()).expect("the kernel counts");
    (both.0 + both.1) / TICKS
}
