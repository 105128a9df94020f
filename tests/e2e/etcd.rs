//! Several control planes over one etcd cluster, while parts of it fail.

mod cut_off;
mod people;
mod restore;
mod site;

use std::time::Duration;

use metahub_tests::{
    control::ControlProcess,
    parts::Etcd,
    program::ours,
    wait::{eventually, within},
    worker::{Worker, readiness},
};
use tokio::{
    process::Command,
    time::{interval, timeout},
};
use tonic::Code;

use self::site::{Log, NODES, OUTAGE, REPLICAS, Site, WORKERS, create, revision, store, types};

/// The leader and those that replicas ask are among them.
#[tokio::test]
async fn killing_each_node_in_turn_fails_no_change_and_loses_none() {
    let mut site = Site::start().await;
    let writer = site.writer();
    writer.goes_on(5).await;

    for turn in 0..=NODES {
        // After each of them, one that leads for sure.
        let node = if turn < NODES {
            turn
        } else {
            site.etcd.leader().await
        };
        site.etcd.kill(node);
        writer.goes_on(10).await;
        site.etcd.restart(node).await;
        writer.goes_on(5).await;
    }

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
    // Ready all the same, and sent away: it knows how old its policy is.
    for worker in &site.workers {
        within(
            OUTAGE,
            "the worker is without a control plane",
            async || {
                let ready = readiness(worker.admin_addr()).await;
                ready.expect("it is ready").contains("not confirmed for")
            },
        )
        .await;
    }
    site.etcd.restart(0).await;
    site.says("etcd is back").await;
    let log = Log {
        acknowledged: vec!["before".into(), "after".into()],
        failed: Vec::new(),
    };
    within(OUTAGE, "changes are taken again", async || {
        let created = create(&mut admin, "after").await;
        let code = created.map_err(|status| status.code());
        // One of which nothing was heard may have been taken.
        matches!(code, Ok(()) | Err(Code::AlreadyExists))
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
                worker.metric("metahub_policy_revision").await == newest
            })
            .await;
        }
        site.start_control(stops).await;
    }

    assert_eq!(site.snapshots().await, snapshots);
}

#[tokio::test]
async fn workers_of_a_replica_that_is_cut_off_go_on_at_the_other_with_changes_only() {
    let site = Site::start_over_weak(Etcd::start().await).await;
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
            async || worker.metric("metahub_policy_revision").await == newest,
        )
        .await;
    }
    assert_eq!(site.snapshots().await, snapshots);
}

#[tokio::test]
async fn after_a_restart_of_everything_all_that_was_acknowledged_is_there() {
    let mut site = Site::start().await;
    let writer = site.writer();
    writer.goes_on(5).await;
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
    // Longer than a replica's words last when it does not renew them.
    let mut seconds = interval(Duration::from_secs(1));
    for _ in 0..20 {
        seconds.tick().await;
        for n in 0..REPLICAS {
            assert_eq!(site.admin(n).workers().await.len(), WORKERS + 2);
        }
    }
}

/// Not only when a replica looks for itself, every few seconds.
#[tokio::test]
async fn a_change_at_one_replica_is_heard_at_the_other_at_once() {
    let site = Site::start().await;

    let changes = async {
        for n in 0..20 {
            let (name, [here, there]) = (format!("type{n}"), [n % 2, 1 - n % 2]);
            create(&mut site.admin(here), &name)
                .await
                .expect("etcd is whole");
            let mut there = site.admin(there);
            eventually("the other hears of it", async || {
                types(&mut there).await.contains(&name)
            })
            .await;
        }
    };

    let heard = timeout(Duration::from_secs(20), changes).await;
    assert_eq!(heard, Ok(()));
}

#[tokio::test]
async fn a_compaction_disturbs_no_one() {
    let site = Site::start().await;
    let writer = site.writer();

    for _ in 0..10 {
        writer.goes_on(2).await;
        site.etcd.compact().await;
    }

    let log = writer.stop().await;
    assert_eq!(log.failed, []);
    site.has_all(&log).await;
    assert_eq!(site.snapshots().await, WORKERS as u64);
    for control in site.controls.iter().flatten() {
        let log = control.log();
        assert!(!log.contains("lost touch with etcd"), "{log}");
    }
}

/// It has lost its watch, and what it would go on from is compacted away.
#[tokio::test]
async fn a_replica_that_was_paused_goes_on_after_a_compaction() {
    let mut site = Site::start().await;
    let paused = site.controls[0].as_ref().expect("it runs");

    paused.pause();
    for node in 0..NODES {
        site.etcd.kill(node);
        site.etcd.restart(node).await;
    }
    let mut log = Log::default();
    for n in 0..10 {
        let name = format!("type{n}");
        create(&mut site.admin(1), &name)
            .await
            .expect("etcd is whole");
        log.acknowledged.push(name);
    }
    site.etcd.compact().await;
    paused.resume();

    site.has_all(&log).await;
    assert!(!paused.log().contains("lost touch with etcd"));
    create(&mut site.admin(0), "later")
        .await
        .expect("etcd is whole");
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
        worker.metric("metahub_policy_revision").await == newest
    })
    .await;
    assert_eq!(worker.metric("metahub_policy_snapshots_total").await, 1);
}
