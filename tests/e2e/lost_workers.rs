//! Workers that end, that are lost, and that have the same id; and callers that
//! say nothing or guess.

use std::time::Duration;

use metahub_proto::admin::v1::{GetStatusRequest, GetStatusResponse, ListUsersRequest};
use metahub_tests::{
    admin::Admin,
    control::Control,
    wait::{eventually, within},
    worker::{Ports, Worker, WorkerProcess},
};
use tokio::net::TcpStream;

async fn status(admin: &mut Admin) -> GetStatusResponse {
    let answer = admin.client().get_status(GetStatusRequest {}).await;
    answer.expect("a status").into_inner()
}

#[tokio::test]
async fn a_worker_that_is_killed_is_lost_and_one_that_is_stopped_is_not() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let stopped = Worker::start(control.place()).await;
    let mut killed = WorkerProcess::start(control.place(), Ports::free(), 0).await;
    admin.all_current(2).await;

    stopped.stop().await;
    killed.kill();

    eventually("one is lost", async || {
        let status = status(&mut admin).await;
        (status.workers_connected, status.workers_lost) == (0, 1)
    })
    .await;
    assert_eq!(admin.workers().await.len(), 1);
    admin.remove_worker(&killed.addr().to_string()).await;
    assert_eq!(admin.workers().await.len(), 0);
}

#[tokio::test]
async fn two_workers_of_one_id_are_told() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let id = ["--worker-id=same"];
    let _one = Worker::start_with(control.place(), &id).await;
    let _two = Worker::start_with(control.place(), &id).await;

    eventually("the control plane notices", async || {
        status(&mut admin).await.workers_doubled == 1
    })
    .await;

    assert!(admin.workers().await[0].doubled);
}

#[tokio::test]
async fn callers_come_through_however_many_connections_say_nothing() {
    let control = Control::start_with(&["--tls"]).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let connected = TcpStream::connect(control.place().addr()).await;
        silent.push(connected.expect("it listens"));
    }

    let mut admin = control.place().admin();
    within(Duration::from_secs(5), "an admin is answered", async || {
        admin.client().list_users(ListUsersRequest {}).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn refused_calls_are_counted() {
    let control = Control::start().await;
    let place = control.place();
    let mut stranger = Admin::connect(&place.url(), "guessed-token-guessed", &place.ca_file());

    for _ in 0..3 {
        let refused = stranger.client().list_users(ListUsersRequest {}).await;
        assert!(refused.is_err());
    }

    assert_eq!(status(&mut place.admin()).await.refused_calls, 3);
}
