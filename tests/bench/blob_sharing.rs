//! What many clients of one large uncached blob cost: the upstream in bytes,
//! the clients in time to the first byte, the worker in memory.
//!
//! ```sh
//! cargo build --release --bins && cargo bench -p metahub-tests --bench blob-sharing
//! ```
//!
//! The worker is a process of its own, new for each row.

use std::{
    fs,
    io::{self, Write as _},
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
use tokio_util::sync::CancellationToken;

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
    for (name, half_leave) in [("all stay", false), ("half leave in the middle", true)] {
        text += &row(name, &blob, clients, half_leave).await;
    }
    io::stdout().write_all(text.as_bytes())
}

/// One row: all clients at once, with a worker that has done nothing before.
async fn row(name: &str, blob: &HugeBlob, clients: usize, half_leave: bool) -> String {
    let upstream = BlobHost::start(blob.clone()).await;
    let control = ControlProcess::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, &upstream.url()).await;
    let worker = WorkerProcess::start(control.place(), Ports::free(), 0).await;
    admin.all_current(1).await;
    let before = rss_mib(worker.pid());
    let peak = Peak::watch(worker.pid());
    let pull = BlobPull {
        worker: worker.addr(),
        login,
        repository: "qnib/large".into(),
        blob: blob.clone(),
    };

    let began = Instant::now();
    let stayed = pull.by(clients, half_leave).await;
    let seconds = began.elapsed().as_secs_f64();

    let stayed = stayed.expect("every client that stays gets the blob");
    let blobs = upstream.sent() as f64 / blob.size as f64;
    let growth = peak.highest() - before;
    let delay = last_first_byte(&upstream, &stayed).as_secs_f64() * 1e3;
    format!("| {name} | {blobs:.3} | {delay:.1} | {growth} | {seconds:.1} |\n")
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

fn rss_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the worker runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits = line
        .expect("the kernel tells")
        .trim()
        .trim_end_matches(" kB");
    digits.parse::<u64>().expect("it is a number") / 1024
}
