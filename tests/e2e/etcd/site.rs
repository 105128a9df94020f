//! Control planes over one etcd cluster, their workers, and an admin who never
//! rests.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use metahub_proto::{admin::v1 as pb, policy::v1 as policy};
use metahub_tests::{
    admin::Admin,
    control::{ControlProcess, Place},
    parts::Etcd,
    wait::{eventually, within},
    worker::Worker,
};
use tokio::task::JoinSet;

pub(super) const REPLICAS: usize = 2;
/// Of etcd.
pub(super) const NODES: usize = 3;
pub(super) const WORKERS: usize = 2;
/// Elections, and a store that waits for them.
pub(super) const OUTAGE: Duration = Duration::from_secs(60);

/// Two control planes over three nodes of etcd, and workers that know both.
pub(super) struct Site {
    pub(super) etcd: Etcd,
    pub(super) controls: Vec<Option<ControlProcess>>,
    pub(super) places: Vec<Place>,
    pub(super) workers: Vec<Worker>,
}

/// Creates machine types, through all replicas at the same time, at each one
/// after the other.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) acknowledged: Vec<String>,
    pub(super) failed: Vec<(String, String)>,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_over(Etcd::start().await).await
    }

    pub(super) async fn start_over(etcd: Etcd) -> Self {
        let store = store(&etcd);
        let mut site = Self::first_replica(etcd, &store).await;
        site.start_other_replicas().await;
        site.start_workers().await;
        site
    }

    /// Starts one whose first replica asks the first node alone, and has all
    /// workers: they begin before there are other replicas.
    pub(super) async fn start_over_weak(etcd: Etcd) -> Self {
        let store = format!("--store={}", etcd.store_by_way_of(0));
        let mut site = Self::first_replica(etcd, &store).await;
        site.start_workers().await;
        site.start_other_replicas().await;
        site
    }

    async fn first_replica(etcd: Etcd, store: &str) -> Self {
        let first = ControlProcess::start_with(Place::fresh(), &[store]).await;
        let place = first.place().clone();
        place.admin().create_user("qnib").await;
        let twins = (1..REPLICAS).map(|_| place.twin()).collect::<Vec<_>>();
        Self {
            etcd,
            controls: vec![Some(first)],
            places: [vec![place], twins].concat(),
            workers: Vec::new(),
        }
    }

    async fn start_other_replicas(&mut self) {
        self.controls.resize_with(REPLICAS, || None);
        for n in 1..REPLICAS {
            self.start_control(n).await;
        }
    }

    async fn start_workers(&mut self) {
        let others = self.places[1..].iter();
        let others: Vec<_> = others.map(|it| format!("--control={}", it.url())).collect();
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        for _ in 0..WORKERS {
            let worker = Worker::start_with(&self.places[0], &others).await;
            self.workers.push(worker);
        }
    }

    pub(super) fn admin(&self, n: usize) -> Admin {
        self.places[n].admin()
    }

    pub(super) fn stop_control(&mut self, n: usize) {
        drop(self.controls[n].take().map(ControlProcess::kill));
    }

    pub(super) async fn start_control(&mut self, n: usize) {
        let flag = store(&self.etcd);
        let control = ControlProcess::start_with(self.places[n].clone(), &[&flag]).await;
        self.controls[n] = Some(control);
    }

    /// Every replica's log says this.
    pub(super) async fn says(&self, words: &str) {
        for control in self.controls.iter().flatten() {
            let what = format!("the log says {words:?}");
            within(OUTAGE, &what, async || control.log().contains(words)).await;
        }
    }

    pub(super) fn writer(&self) -> Writer {
        Writer::start((0..REPLICAS).map(|n| self.admin(n)).collect())
    }

    /// Every replica has all that was acknowledged, and every worker serves the
    /// newest.
    pub(super) async fn has_all(&self, log: &Log) {
        let mut newest = 0;
        for n in 0..REPLICAS {
            let mut admin = self.admin(n);
            let missing = |types: Vec<String>| {
                let is_missing = |name: &&String| !types.contains(name);
                log.acknowledged.iter().filter(is_missing).count()
            };
            within(
                OUTAGE,
                "the replica has all that was acknowledged",
                async || missing(types(&mut admin).await) == 0,
            )
            .await;
            newest = newest.max(revision(&mut admin).await);
        }
        for worker in &self.workers {
            eventually("the worker serves the newest revision", async || {
                worker.metric("metahub_policy_revision").await >= newest
            })
            .await;
        }
    }

    /// How often workers have got the whole policy.
    pub(super) async fn snapshots(&self) -> u64 {
        let mut count = 0;
        for worker in &self.workers {
            count += worker.metric("metahub_policy_snapshots_total").await;
        }
        count
    }
}

impl Writer {
    fn start(admins: Vec<Admin>) -> Self {
        let (stop, log) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Log>>::default());
        let at_each = admins.into_iter().enumerate();
        let at_each =
            at_each.map(|(replica, admin)| write(replica, admin, stop.clone(), log.clone()));
        let tasks = at_each.collect();
        Self { stop, log, tasks }
    }

    pub(super) fn log(&self) -> Log {
        self.log.lock().expect("no one panics with it").clone()
    }

    /// Waits until so many more changes are acknowledged by each replica.
    pub(super) async fn goes_on(&self, more: usize) {
        let before = self.log().counts();
        within(OUTAGE, "each replica acknowledges changes", async || {
            let counts = self.log().counts().into_iter();
            counts.zip(before).all(|(now, before)| now >= before + more)
        })
        .await;
    }

    pub(super) async fn stop(self) -> Log {
        self.stop.store(true, Relaxed);
        let log = self.log.clone();
        self.tasks.join_all().await;
        let log = log.lock().expect("no one panics with it");
        log.clone()
    }
}

impl Log {
    /// How many each replica has acknowledged.
    fn counts(&self) -> [usize; REPLICAS] {
        let mut counts = [0; REPLICAS];
        for name in &self.acknowledged {
            let replica = name.strip_prefix("type").and_then(|it| it.split_once('x'));
            let replica = replica.and_then(|(replica, _)| replica.parse::<usize>().ok());
            counts[replica.expect("a writer has named it")] += 1;
        }
        counts
    }
}

async fn write(replica: usize, mut admin: Admin, stop: Arc<AtomicBool>, log: Arc<Mutex<Log>>) {
    for n in 0.. {
        if stop.load(Relaxed) {
            return;
        }
        let name = format!("type{replica}x{n}");
        let created = create(&mut admin, &name).await;
        let mut log = log.lock().expect("no one panics with it");
        match created {
            Ok(()) => log.acknowledged.push(name),
            Err(status) => log.failed.push((name, status.message().to_owned())),
        }
    }
}

pub(super) fn store(etcd: &Etcd) -> String {
    format!("--store={}", etcd.store())
}

pub(super) async fn create(admin: &mut Admin, name: &str) -> Result<(), tonic::Status> {
    let machine_type = policy::MachineType {
        user: "qnib".into(),
        name: name.into(),
        os: "linux".into(),
        ..Default::default()
    };
    let request = pb::CreateTypeRequest {
        machine_type: Some(machine_type),
        ..Default::default()
    };
    admin.client().create_type(request).await.map(|_| ())
}

pub(super) async fn types(admin: &mut Admin) -> Vec<String> {
    let answer = admin.client().list_types(pb::ListTypesRequest::default());
    let types = answer
        .await
        .expect("types are listed")
        .into_inner()
        .machine_types;
    types.into_iter().map(|it| it.name).collect()
}

pub(super) async fn revision(admin: &mut Admin) -> u64 {
    let answer = admin.client().list_workers(pb::ListWorkersRequest {});
    let answer = answer.await.expect("workers are listed").into_inner();
    answer.revision.expect("there is a revision").number
}
