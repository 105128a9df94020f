//! Nodes that others do not reach, or get no answer from: each in a network of its own, with a cable
//! between any two and one to the control planes.

use metahub_tests::{parts::Etcd, wait::within};

use super::site::{NODES, OUTAGE, Site, create, revision, types};

/// Cuts each node off in turn, the leader and those that replicas ask among
/// them, while changes go on.
async fn each_in_turn(cut: impl Fn(&Etcd, usize), heal: impl Fn(&Etcd, usize)) {
    let site = Site::start_over(Etcd::start_apart().await).await;
    let writer = site.writer();
    writer.goes_on(5).await;

    for turn in 0..=NODES {
        // After each of them, one that leads for sure.
        let node = if turn < NODES {
            turn
        } else {
            site.etcd.leader().await
        };
        cut(&site.etcd, node);
        writer.goes_on(10).await;
        site.has_all(&writer.log()).await;
        heal(&site.etcd, node);
        site.etcd.caught_up(node).await;
        writer.goes_on(5).await;
    }

    let log = writer.stop().await;
    assert_eq!(log.failed, []);
    site.has_all(&log).await;
}

#[tokio::test]
async fn a_node_that_the_others_do_not_reach_fails_no_change_and_loses_none() {
    each_in_turn(Etcd::part, Etcd::heal).await;
}

#[tokio::test]
async fn a_node_that_no_one_reaches_fails_no_change_and_loses_none() {
    each_in_turn(Etcd::cut_off, Etcd::heal).await;
}

#[tokio::test]
async fn a_node_that_freezes_fails_no_change_and_loses_none() {
    each_in_turn(Etcd::freeze, Etcd::thaw).await;
}

/// The node answers its clients, and knows nothing new.
#[tokio::test]
async fn a_replica_does_not_follow_a_node_that_has_lost_the_others() {
    let site = Site::start_over_weak(Etcd::start_apart().await).await;

    site.etcd.part(0);
    let mut admin = site.admin(1);
    create(&mut admin, "later")
        .await
        .expect("two nodes are enough");

    let newest = revision(&mut admin).await;
    for worker in &site.workers {
        within(OUTAGE, "the worker goes on at the other", async || {
            worker.metric("metahub_policy_revision").await == newest
        })
        .await;
    }
    let log = site.controls[0].as_ref().expect("it runs").log();
    assert!(log.contains("lost touch with etcd"), "{log}");
    site.etcd.heal(0);
    let mut weak = site.admin(0);
    within(OUTAGE, "the replica catches up", async || {
        types(&mut weak).await.contains(&"later".to_owned())
    })
    .await;
}

/// Its watch stays open, for the node is there; but nothing comes of it.
#[tokio::test]
async fn a_replica_leaves_a_node_that_has_lost_the_others() {
    let site = Site::start_over(Etcd::start_apart().await).await;

    for node in 0..NODES {
        site.etcd.part(node);
        for [here, there] in [[0, 1], [1, 0]] {
            let name = format!("at{here}without{node}");
            create(&mut site.admin(here), &name)
                .await
                .expect("two nodes are enough");
            let mut there = site.admin(there);
            within(OUTAGE, "the other replica hears of it", async || {
                types(&mut there).await.contains(&name)
            })
            .await;
        }
        site.etcd.heal(node);
        site.etcd.caught_up(node).await;
    }

    for control in site.controls.iter().flatten() {
        let log = control.log();
        assert!(!log.contains("lost touch with etcd"), "{log}");
    }
}
