//! Many workers in one process: real ones to the control plane, with its
//! client, its copy of the policy and its snapshot, but no registry.
//!
//! Each reads every whole policy that it is sent, and compares its digest;
//! then those that read the same share its memory, as one machine has not
//! enough for a thousand. Each takes every change by itself.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use clap::Parser as _;
use metahub_control::{App, Declaration};
use metahub_worker::{
    Config,
    follower::{Follower, Shelf, View},
};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{admin::Admin, control::Place};

/// How long a change may take to reach all.
const PATIENCE: Duration = Duration::from_secs(300);

/// The workers. They end when this is dropped.
#[derive(Debug)]
pub struct Swarm {
    views: Vec<View>,
    _shutdown: DropGuard,
}

/// Waits for a revision at every worker.
#[derive(Debug)]
pub struct Arrivals(JoinSet<Duration>);

impl Swarm {
    /// Starts `count` workers of the control plane at `control`, on the
    /// runtime that this is called on. Each shows the worker token.
    pub fn start(control: &Place, count: usize) -> Self {
        let token_file = control.worker_token_file();
        Self::proving(control, count, "--token-file", &token_file)
    }

    /// The same for workers that join with the token in this file, and then
    /// show a certificate each.
    pub fn join(control: &Place, count: usize, token_file: &Path) -> Self {
        Self::proving(control, count, "--join-token-file", token_file)
    }

    fn proving(control: &Place, count: usize, flag: &str, file: &Path) -> Self {
        let config = Config::parse_from([
            "metahub-worker".to_owned(),
            format!("--control={}", control.url()),
            format!("{flag}={}", file.display()),
        ]);
        let (shelf, shutdown) = (Shelf::default(), CancellationToken::new());
        let start = |n| {
            let name = format!("worker-{n:04}");
            let follower = Follower::new(&config, name, shelf.clone());
            let follower = follower.expect("the settings are good");
            let view = follower.view();
            tokio::spawn(follower.run(shutdown.clone()));
            view
        };
        Self {
            views: (0..count).map(start).collect(),
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Waits for revision `number` at every worker, from now on.
    pub fn await_revision(&self, number: u64) -> Arrivals {
        let began = Instant::now();
        let views = self.views.iter().cloned();
        Arrivals(
            views
                .map(|view| async move {
                    view.reached(number).await;
                    began.elapsed()
                })
                .collect(),
        )
    }

    /// How many workers serve the login.
    pub fn knowing(&self, login: &str) -> usize {
        self.views.iter().filter(|view| view.knows(login)).count()
    }

    /// How often a worker's copy was found to differ from the policy.
    pub fn mismatches(&self) -> u64 {
        self.views.iter().map(View::mismatches).sum()
    }
}

impl Arrivals {
    /// How long each took, the fastest first.
    pub async fn all(self) -> Vec<Duration> {
        let mut times = timeout(PATIENCE, self.0.join_all())
            .await
            .expect("it reaches all workers");
        times.sort_unstable();
        times
    }
}

/// The newest revision's number.
pub async fn revision(admin: &mut Admin) -> u64 {
    let request = metahub_proto::admin::v1::GetStatusRequest {};
    let status = admin.client().get_status(request).await;
    let status = status.expect("the status is told").into_inner();
    status.revision.expect("there is a revision").number
}

/// Puts a user `fill` with so many machine types, each with a login, into the
/// store at `place`, where no control plane runs yet.
pub async fn fill(place: &Place, types: usize) {
    let declared = |n: usize| {
        serde_json::json!({
            "name": format!("type{n:06}"),
            "secret": format!("secret of {n}"),
            "features": ["cpu:skylake", format!("site:rack-{}", n % 100), "nvcap:8.0"],
        })
    };
    let types: Vec<_> = (0..types).map(declared).collect();
    let file = serde_json::json!({"users": [{"name": "fill", "types": types}]});
    let declaration: Declaration = serde_json::from_value(file).expect("it is a declaration");
    let app = App::bind(place.config()).await.expect("the store opens");
    let applied = app.catalog().apply(declaration).await;
    applied.expect("the declaration is taken");
}

/// How long a process has had a core so far, as proc(5) tells.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name before may hold anything.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// What a process holds in memory now, and has held at most, in KiB.
pub fn memory_kib(pid: u32) -> [u64; 2] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        let number = number.and_then(|it| it.parse().ok());
        number.expect("the kernel tells")
    })
}
