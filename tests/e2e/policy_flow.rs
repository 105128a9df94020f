//! Policy reaches every worker at once, and outlives the control plane.

use std::time::Duration;

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    client::RegistryClient,
    control::Control,
    site::Site,
    wait::{eventually, within},
};

const SECOND: Duration = Duration::from_secs(1);

/// The status that the image's tag is answered with.
async fn status(client: &RegistryClient) -> u16 {
    let answer = client.manifest(REPOSITORY, "latest").await;
    answer.status().as_u16()
}

#[tokio::test]
async fn a_type_created_while_workers_run_pulls_through_both_within_a_second() {
    let mut site = Site::start(2).await;

    let login = site
        .admin
        .create_type("qnib", "type3", &["cpu:skylake"])
        .await;

    let [one, two] = [0, 1].map(|n| site.client(n, &login));
    within(SECOND, "both workers serve the new type", async || {
        status(&one).await == 200 && status(&two).await == 200
    })
    .await;
}

#[tokio::test]
async fn a_deleted_login_is_refused_by_both_workers_within_a_second() {
    let mut site = Site::start(2).await;
    let [one, two] = [0, 1].map(|n| site.client(n, &site.type1));
    assert_eq!((status(&one).await, status(&two).await), (200, 200));

    site.admin.delete_login(&site.type1.name).await;

    within(SECOND, "both workers refuse the login", async || {
        status(&one).await == 401 && status(&two).await == 401
    })
    .await;
}

#[tokio::test]
async fn pulls_go_on_while_the_control_plane_is_away() {
    let site = Site::start(2).await;
    let [one, two] = [0, 1].map(|n| site.client(n, &site.type1));

    let _away = site.control.stop().await;

    assert_eq!((status(&one).await, status(&two).await), (200, 200));
}

#[tokio::test]
async fn changes_flow_again_once_the_control_plane_is_back() {
    let site = Site::start(2).await;
    let place = site.control.stop().await;
    let control = Control::start_at(place).await;

    let mut admin = control.place().admin();
    let login = admin.create_type("qnib", "type3", &["cpu:skylake"]).await;

    for worker in &site.workers {
        let client = RegistryClient::new(worker.addr(), &login);
        eventually("the worker serves the new type", async || {
            status(&client).await == 200
        })
        .await;
    }
}

#[tokio::test]
async fn a_worker_started_later_serves_what_was_said_before() {
    let site = Site::start(0).await;

    let worker = metahub_tests::worker::Worker::start(site.control.place()).await;

    let client = RegistryClient::new(worker.addr(), &site.type1);
    assert_eq!(status(&client).await, 200);
}
