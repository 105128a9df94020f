//! Many workers follow one control plane: what the bench `scale` measures, at
//! the size of a test and without a clock.

use std::fs;

use metahub_tests::{
    control::{ControlProcess, Place},
    port::free_addr,
    swarm::{Swarm, fill, revision},
};

const WORKERS: usize = 20;
const TYPES: usize = 300;

async fn stage() -> (ControlProcess, Swarm) {
    let place = Place::at(free_addr());
    fill(&place, TYPES).await;
    let control = ControlProcess::start_with(place, &["--max-snapshots=2"]).await;
    let swarm = Swarm::start(control.place(), WORKERS);
    (control, swarm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_revocations_reach_all_of_many_workers() {
    let (control, swarm) = stage().await;
    let mut admin = control.place().admin();
    let number = revision(&mut admin).await;
    swarm.await_revision(number).all().await;

    let created = swarm.await_revision(number + 1);
    let login = admin.create_type("fill", "new", &["cpu:zen4"]).await;
    created.all().await;
    let known = swarm.knowing(&login.name);
    let deleted = swarm.await_revision(number + 2);
    admin.delete_login(&login.name).await;
    deleted.all().await;

    assert_eq!((known, swarm.knowing(&login.name)), (WORKERS, 0));
    assert_eq!(swarm.mismatches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_all_of_many_workers_that_have_joined() {
    let place = Place::at(free_addr()).with(&["--tls"]);
    fill(&place, TYPES).await;
    let control = ControlProcess::start_at(place).await;
    let mut admin = control.place().admin();
    let token_file = control.place().dir().join("join-token");
    let token = admin.create_join_token("all", 0).await;
    fs::write(&token_file, token).expect("there is room");
    let swarm = Swarm::join(control.place(), WORKERS, &token_file);
    admin.all_current(WORKERS).await;

    let login = admin.create_type("fill", "new", &["cpu:zen4"]).await;

    admin.all_current(WORKERS).await;
    assert_eq!(swarm.knowing(&login.name), WORKERS);
    assert_eq!(swarm.mismatches(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_come_back_to_a_control_plane_that_was_killed() {
    let (control, swarm) = stage().await;
    let mut admin = control.place().admin();
    let number = revision(&mut admin).await;
    swarm.await_revision(number).all().await;

    let control = ControlProcess::start_at(control.kill()).await;
    let mut admin = control.place().admin();
    let changed = swarm.await_revision(number + 1);
    let login = admin.create_type("fill", "new", &["cpu:zen4"]).await;
    changed.all().await;

    assert_eq!(swarm.knowing(&login.name), WORKERS);
    admin.all_current(WORKERS).await;
    assert_eq!(swarm.mismatches(), 0);
}
