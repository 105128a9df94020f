//! Hosts that pull without a pause.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use metahub_cli::demo::{client::Client, image::REPOSITORY};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{admin::Login, wait::eventually};

const HOSTS: usize = 4;
/// How many pulls are enough to say that things go on.
const SOME: usize = 40;

/// Several hosts that pull `qnib/bench` again and again until they are stopped.
#[derive(Debug)]
pub struct Load {
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    hosts: JoinSet<()>,
}

impl Load {
    /// Starts to pull the tag at the registry `url`.
    pub fn start(url: &str, tag: &'static str, login: &Login) -> Self {
        let mut load = Self {
            done: Arc::default(),
            failed: Arc::default(),
            stop: CancellationToken::new(),
            hosts: JoinSet::new(),
        };
        for _ in 0..HOSTS {
            let client = Client::new(url, &login.name, &login.secret);
            let client = client.expect("a client can be made");
            load.hosts.spawn(pull(client, tag, load.tally()));
        }
        load
    }

    /// Waits for some more pulls to end, well or not.
    pub async fn goes_on(&self) {
        let goal = self.done.load(Ordering::Relaxed) + SOME;
        eventually("hosts pull", async || {
            self.done.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Stops all hosts, and says what failed.
    pub async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.hosts.join_all().await;
        let mut failed = self.failed.lock().expect("no host panics");
        std::mem::take(&mut *failed)
    }

    fn tally(&self) -> Tally {
        Tally {
            done: self.done.clone(),
            failed: self.failed.clone(),
            stop: self.stop.clone(),
        }
    }
}

struct Tally {
    done: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

async fn pull(client: Client, tag: &'static str, tally: Tally) {
    while !tally.stop.is_cancelled() {
        if let Err(error) = client.pull(REPOSITORY, tag).await {
            let mut failed = tally.failed.lock().expect("no host panics");
            failed.push(format!("{error:#}"));
        }
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
}
