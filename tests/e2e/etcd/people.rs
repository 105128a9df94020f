//! People at two control planes: what one of them does, the other sees.

use std::{pin::pin, time::Duration};

use metahub_tests::{
    admin::Login,
    client::RegistryClient,
    ctl::{Ctl, follow_audit},
    wait::{eventually, within},
    worker::Worker,
};
use serde_json::Value;
use tokio::time::timeout;

use super::site::{OUTAGE, Site};

const FILE: &str = "
users:
  - name: moby
    types:
      - {name: one, secret: chosen-by-the-admin, features: [cpu:skylake]}
";

async fn status(worker: &Worker) -> u16 {
    let login = Login {
        name: "moby-one".into(),
        secret: "chosen-by-the-admin".into(),
    };
    let client = RegistryClient::new(worker.addr(), &login);
    client.get("/v2/").await.status().as_u16()
}

/// A worker that knows one replica, for each.
async fn workers_of_each(site: &Site) -> Vec<Worker> {
    let mut workers = Vec::new();
    for place in &site.places {
        workers.push(Worker::start(place).await);
    }
    for n in 0..site.places.len() {
        let all = site.workers.len() + workers.len();
        site.admin(n).all_current(all).await;
    }
    workers
}

#[tokio::test]
async fn one_who_waits_at_one_replica_waits_for_the_workers_of_both() {
    let site = Site::start().await;
    let workers = workers_of_each(&site).await;
    let ctl = Ctl::at(&site.places[0]);
    let other = site.controls[1].as_ref().expect("it runs");

    other.pause();
    let mut applying = pin!(ctl.run_with_input(&["apply", "-f-", "--wait"], FILE));
    // Shorter than what the other says of its workers is believed, and than its
    // workers wait for it: none of them is to leave.
    let early = timeout(Duration::from_secs(3), &mut applying).await;
    other.resume();
    assert!(early.is_err(), "it has not waited: {early:?}");

    applying.await.text();
    for worker in workers.iter().chain(&site.workers) {
        assert_eq!(status(worker).await, 200);
    }
}

#[tokio::test]
async fn what_was_applied_at_one_replica_is_rolled_back_at_the_other() {
    let site = Site::start().await;
    let workers = workers_of_each(&site).await;
    let [here, there] = [0, 1].map(|n| Ctl::at(&site.places[n]));
    let before = here.run(&["export"]).await.text();
    let history = here.json(&["policy", "history", "-n1"]).await;
    let then = history[0]["revision"].to_string();
    here.run_with_input(&["apply", "-f-"], FILE).await.text();
    within(OUTAGE, "the other replica has it", async || {
        there.run(&["export"]).await.text().contains("moby")
    })
    .await;

    let rollback = ["policy", "rollback", &then, "--yes", "--wait"];
    there.run(&rollback).await.text();

    for worker in workers.iter().chain(&site.workers) {
        assert_eq!(status(worker).await, 401);
    }
    within(OUTAGE, "the first replica has it", async || {
        here.run(&["export"]).await.text() == before
    })
    .await;
    let latest = here.json(&["policy", "history", "-n1"]).await;
    assert_eq!(latest[0]["action"], Value::from("policy.rollback"));
}

#[tokio::test]
async fn a_follower_of_the_audit_is_told_what_others_do_at_the_other_replica() {
    let site = Site::start().await;
    let follower = follow_audit(&site.places[1]);
    eventually("the follower has what was before", async || {
        follower.log().contains("user/qnib")
    })
    .await;

    let here = Ctl::at(&site.places[0]);
    here.run_with_input(&["apply", "-f-"], FILE).await.text();
    here.run(&["user", "create", "last"]).await.text();

    eventually("the follower is told of it", async || {
        follower.log().contains("user/last")
    })
    .await;
    let log = follower.log();
    for key in ["user/moby", "type/moby/one", "login/moby-one", "user/last"] {
        let told = log.lines().filter(|line| line.contains(key)).count();
        assert_eq!(told, 1, "{key}\n{log}");
    }
}
