//! HTTP/2 clients that leave their answers unread.

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    index::{entry, put_index},
    site::Site,
    stalled::{Demand, StalledClient},
    wait::eventually,
    worker::{Ports, WorkerProcess},
};

/// A worker with little patience, as a process whose memory can be told. It has
/// more than a client takes to ask for all that it wants.
async fn worker(site: &mut Site) -> WorkerProcess {
    let flags = ["--stall-timeout=5s", "--header-timeout=5s"];
    let worker = WorkerProcess::start_with(site.control.place(), Ports::free(), 0, &flags).await;
    site.admin.all_current(1).await;
    worker
}

async fn all_are_cut_off(clients: &[StalledClient]) {
    eventually("all are cut off", async || {
        !clients.iter().any(StalledClient::is_open)
    })
    .await;
}

#[tokio::test]
async fn a_thousand_unread_answers_take_no_memory_and_are_not_kept() {
    let mut site = Site::start(0).await;
    let worker = worker(&mut site).await;
    let entries: Vec<_> = (0..5_000)
        .map(|n| entry(&format!("sha256:{n:064x}"), &["cpu:broadwell"]))
        .collect();
    put_index(&site.upstream, REPOSITORY, "large", &entries);
    let bytes = site.upstream.manifest(REPOSITORY, "large");
    let digest = metahub_cli::demo::digest::sha256(&bytes.expect("it is there"));
    let path = format!("/v2/{REPOSITORY}/manifests/{digest}");
    let demand = |requests, window| Demand {
        path: &path,
        requests,
        window,
    };
    let login = &site.type1;
    StalledClient::ask(worker.addr(), login, demand(1, 1 << 20)).await;
    let before = worker.rss_mib();

    let mut clients = Vec::new();
    for window in [0, 1, 0xffff, 0, 1, 0xffff, 0, 1, 0xffff, 1] {
        let client = StalledClient::ask(worker.addr(), login, demand(100, window)).await;
        clients.push(client);
    }

    let grown = worker.rss_mib().saturating_sub(before);
    assert!(grown < 64, "1,000 unread MiB took {grown} MiB");
    all_are_cut_off(&clients).await;
}

#[tokio::test]
async fn an_answer_that_is_smaller_than_any_buffer_is_not_kept_either() {
    let mut site = Site::start(0).await;
    let worker = worker(&mut site).await;
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let demand = Demand {
        path: &path,
        requests: 100,
        window: 1,
    };

    let client = StalledClient::ask(worker.addr(), &site.type1, demand).await;

    all_are_cut_off(&[client]).await;
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_more_is_sent_away() {
    let mut site = Site::start(0).await;
    let worker = worker(&mut site).await;
    let demand = Demand {
        path: "/v2/",
        requests: 1,
        window: 1 << 20,
    };

    let client = StalledClient::ask(worker.addr(), &site.type1, demand).await;

    all_are_cut_off(&[client]).await;
}
