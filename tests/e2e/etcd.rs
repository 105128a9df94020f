//! Several control planes over one etcd cluster, while parts of it fail.

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
    program::ours,
    wait::{eventually, within},
    worker::{Worker, readiness},
};
use tokio::{process::Command, task::JoinHandle};
use tonic::Code;

const REPLICAS: usize = 2;
const WORKERS: usize = 2;
/// Elections, and a store that waits for them.
const OUTAGE: Duration = Duration::from_secs(60);

/// Two control planes over three nodes of etcd, and workers that know both.
struct Site {
    etcd: Etcd,
    controls: Vec<Option<ControlProcess>>,
    places: Vec<Place>,
    workers: Vec<Worker>,
}

/// Creates one machine type after the other, through all replicas in turn.
struct Writer {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Log {
    acknowledged: Vec<String>,
    failed: Vec<(String, String)>,
}

impl Site {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let store = store(&etcd);
        Self::start_with(etcd, &store, WORKERS).await
    }

    /// Starts one whose first replica has another setting.
    async fn start_with(etcd: Etcd, first: &str, workers: usize) -> Self {
        let first = ControlProcess::start_with(Place::fresh(), &[first]).await;
        let mut places = vec![first.place().clone()];
        let mut controls = vec![Some(first)];
        for _ in 1..REPLICAS {
            let twin = places[0].twin();
            controls.push(Some(
                ControlProcess::start_with(twin.clone(), &[&store(&etcd)]).await,
            ));
            places.push(twin);
        }
        places[0].admin().create_user("qnib").await;
        let other = format!("--control={}", places[1].url());
        let mut fleet = Vec::new();
        for _ in 0..workers {
            fleet.push(Worker::start_with(&places[0], &[&other]).await);
        }
        Self {
            etcd,
            controls,
            places,
            workers: fleet,
        }
    }

    fn admin(&self, n: usize) -> Admin {
        self.places[n].admin()
    }

    fn stop_control(&mut self, n: usize) {
        drop(self.controls[n].take().map(ControlProcess::kill));
    }

    async fn start_control(&mut self, n: usize) {
        let flag = store(&self.etcd);
        let control = ControlProcess::start_with(self.places[n].clone(), &[&flag]).await;
        self.controls[n] = Some(control);
    }

    /// Every replica's log says this.
    async fn says(&self, words: &str) {
        for control in self.controls.iter().flatten() {
            let what = format!("the log says {words:?}");
            within(OUTAGE, &what, async || control.log().contains(words)).await;
        }
    }

    fn writer(&self) -> Writer {
        Writer::start((0..REPLICAS).map(|n| self.admin(n)).collect())
    }

    /// Every replica has all that was acknowledged, and every worker serves the
    /// newest.
    async fn has_all(&self, log: &Log) {
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
                metric(worker, "metahub_policy_revision").await >= newest
            })
            .await;
        }
    }

    /// How often workers have got the whole policy.
    async fn snapshots(&self) -> u64 {
        let mut count = 0;
        for worker in &self.workers {
            count += metric(worker, "metahub_policy_snapshots_total").await;
        }
        count
    }
}

impl Writer {
    fn start(mut admins: Vec<Admin>) -> Self {
        let (stop, log) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Log>>::default());
        let (stopping, noting) = (stop.clone(), log.clone());
        let task = tokio::spawn(async move {
            for n in 0.. {
                if stopping.load(Relaxed) {
                    return;
                }
                let name = format!("type{n}");
                let count = admins.len();
                let created = create(&mut admins[n % count], &name).await;
                let mut log = noting.lock().expect("no one panics with it");
                match created {
                    Ok(()) => log.acknowledged.push(name),
                    Err(status) => log.failed.push((name, status.message().to_owned())),
                }
            }
        });
        Self { stop, log, task }
    }

    fn log(&self) -> Log {
        self.log.lock().expect("no one panics with it").clone()
    }

    /// Waits until so many more changes are acknowledged.
    async fn goes_on(&self, more: usize) {
        let before = self.log().acknowledged.len();
        within(OUTAGE, "changes are acknowledged", async || {
            self.log().acknowledged.len() >= before + more
        })
        .await;
    }

    async fn stop(self) -> Log {
        self.stop.store(true, Relaxed);
        let Self { log, task, .. } = self;
        task.await.expect("it ends by itself");
        let log = log.lock().expect("no one panics with it");
        log.clone()
    }
}

fn store(etcd: &Etcd) -> String {
    format!("--store={}", etcd.store())
}

async fn create(admin: &mut Admin, name: &str) -> Result<(), tonic::Status> {
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

async fn types(admin: &mut Admin) -> Vec<String> {
    let answer = admin.client().list_types(pb::ListTypesRequest::default());
    let types = answer
        .await
        .expect("types are listed")
        .into_inner()
        .machine_types;
    types.into_iter().map(|it| it.name).collect()
}

async fn revision(admin: &mut Admin) -> u64 {
    let answer = admin.client().list_workers(pb::ListWorkersRequest {});
    let answer = answer.await.expect("workers are listed").into_inner();
    answer.revision.expect("there is a revision").number
}

async fn metric(worker: &Worker, name: &str) -> u64 {
    let url = format!("http://{}/metrics", worker.admin_addr());
    let answer = reqwest::get(url).await.expect("the worker has metrics");
    let text = answer.text().await.expect("metrics are text");
    let line = text
        .lines()
        .find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .expect("it is a number")
}

#[tokio::test]
async fn killing_the_leader_fails_no_change_and_loses_none() {
    let mut site = Site::start().await;
    let writer = site.writer();
    writer.goes_on(10).await;

    let leader = site.etcd.leader().await;
    site.etcd.kill(leader);
    writer.goes_on(20).await;
    site.etcd.restart(leader).await;
    writer.goes_on(10).await;

    let log = writer.stop().await;
    assert_eq!(log.failed, []);
    site.has_all(&log).await;
}

#[tokio::test]
async fn a_leader_that_freezes_fails_no_change_and_loses_none() {
    let site = Site::start().await;
    let writer = site.writer();
    writer.goes_on(10).await;

    let leader = site.etcd.leader().await;
    site.etcd.freeze(leader);
    writer.goes_on(20).await;
    site.etcd.thaw(leader);
    writer.goes_on(10).await;

    let log = writer.stop().await;
    assert_eq!(log.failed, []);
    site.has_all(&log).await;
}

#[tokio::test]
async fn without_most_of_its_nodes_changes_are_refused_and_the_last_state_is_served() {
    let mut site = Site::start().await;
    let mut admin = site.admin(0);
    create(&mut admin, "before").await.expect("etcd is whole");

    site.etcd.kill(0);
    site.etcd.kill(1);
    let refused = create(&mut admin, "during").await;

    let code = refused.map_err(|status| status.code());
    assert_eq!(code, Err(Code::Unavailable));
    assert!(types(&mut admin).await.contains(&"before".to_owned()));
    site.says("lost touch with etcd").await;
    let is_ready = |worker: &Worker| readiness(worker.admin_addr());
    for ready in site.workers.iter().map(is_ready) {
        assert!(ready.await.is_some());
    }
    site.etcd.restart(0).await;
    site.says("etcd is back").await;
    let log = Log {
        acknowledged: vec!["before".into(), "after".into()],
        failed: Vec::new(),
    };
    within(OUTAGE, "changes are taken again", async || {
        create(&mut admin, "after").await.is_ok()
    })
    .await;
    site.has_all(&log).await;
}

#[tokio::test]
async fn workers_of_a_replica_that_stops_go_on_at_the_other_with_changes_only() {
    let mut site = Site::start().await;
    let snapshots = site.snapshots().await;

    // Wherever a worker began, it has to move once.
    for (stops, stays) in [(0, 1), (1, 0)] {
        site.stop_control(stops);
        let mut admin = site.admin(stays);
        let name = format!("without{stops}");
        create(&mut admin, &name)
            .await
            .expect("one replica is enough");
        let newest = revision(&mut admin).await;
        for worker in &site.workers {
            eventually("the worker serves the newest revision", async || {
                metric(worker, "metahub_policy_revision").await == newest
            })
            .await;
        }
        site.start_control(stops).await;
    }

    assert_eq!(site.snapshots().await, snapshots);
}

#[tokio::test]
async fn workers_of_a_replica_that_is_cut_off_go_on_at_the_other_with_changes_only() {
    let etcd = Etcd::start().await;
    let weak = format!("--store={}", etcd.store_by_way_of(0));
    // Where a worker begins is drawn.
    let site = Site::start_with(etcd, &weak, 4).await;
    let snapshots = site.snapshots().await;

    site.etcd.freeze(0);
    let mut admin = site.admin(1);
    create(&mut admin, "later")
        .await
        .expect("two nodes are enough");

    let newest = revision(&mut admin).await;
    for worker in &site.workers {
        within(
            OUTAGE,
            "the worker serves the newest revision",
            async || metric(worker, "metahub_policy_revision").await == newest,
        )
        .await;
    }
    assert_eq!(site.snapshots().await, snapshots);
}

#[tokio::test]
async fn after_a_restart_of_everything_all_that_was_acknowledged_is_there() {
    let mut site = Site::start().await;
    let writer = site.writer();
    writer.goes_on(10).await;
    let snapshots = site.snapshots().await;

    for n in 0..REPLICAS {
        site.stop_control(n);
    }
    let log = writer.stop().await;
    for n in 0..3 {
        site.etcd.kill(n);
    }
    site.etcd.restart_all().await;
    for n in 0..REPLICAS {
        site.start_control(n).await;
    }

    site.has_all(&log).await;
    assert_eq!(site.snapshots().await, snapshots);
}

#[tokio::test]
async fn every_replica_lists_the_workers_of_all() {
    let site = Site::start().await;

    let _here = Worker::start(&site.places[0]).await;
    let _there = Worker::start(&site.places[1]).await;

    for n in 0..REPLICAS {
        site.admin(n).all_current(WORKERS + 2).await;
    }
}

#[tokio::test]
async fn a_compaction_disturbs_no_one() {
    let site = Site::start().await;
    let writer = site.writer();

    for _ in 0..5 {
        writer.goes_on(10).await;
        site.etcd.compact().await;
    }

    let log = writer.stop().await;
    assert_eq!(log.failed, []);
    site.has_all(&log).await;
    assert_eq!(site.snapshots().await, WORKERS as u64);
}

#[tokio::test]
async fn a_move_from_sqlite_to_etcd_costs_workers_no_resync() {
    let etcd = Etcd::start().await;
    let control = ControlProcess::start().await;
    control.place().admin().create_user("qnib").await;
    let worker = Worker::start(control.place()).await;
    let place = control.kill();

    let file = format!("sqlite:{}/metahub.db", place.dir().display());
    let migrated = Command::new(ours("metahub-control"))
        .args(["migrate", "--from", &file, "--to", &etcd.store()])
        .output()
        .await;
    assert!(migrated.expect("it runs").status.success());
    let control = ControlProcess::start_with(place, &[&store(&etcd)]).await;
    let mut admin = control.place().admin();
    create(&mut admin, "later").await.expect("etcd is whole");

    let newest = revision(&mut admin).await;
    eventually("the worker serves the newest revision", async || {
        metric(&worker, "metahub_policy_revision").await == newest
    })
    .await;
    assert_eq!(metric(&worker, "metahub_policy_snapshots_total").await, 1);
}
