//! Many clients, one blob, one reading of the upstream.

use metahub_tests::{
    blob_host::{BlobHost, HugeBlob},
    blob_pull::BlobPull,
    site::Site,
    wait::eventually,
};

const CLIENTS: usize = 100;
/// Less than clients that share a reading may be apart: none is too slow,
/// however busy the machine is.
const MEBIBYTES: u64 = 12;
const SIZE: u64 = MEBIBYTES << 20;

/// Pulls a blob as many clients at once, of whom half may leave. Says how many
/// stayed, and how many bytes the upstream sent.
async fn pulled(half_leave: bool) -> (usize, u64) {
    let mut site = Site::start(1).await;
    let blob = HugeBlob::new(MEBIBYTES);
    let upstream = BlobHost::start(blob.clone()).await;
    upstream.hold_at(SIZE / 4);
    site.admin
        .put_default_upstream("upstream.test", &upstream.url())
        .await;
    site.admin.all_current(1).await;
    let pull = BlobPull {
        worker: site.workers[0].addr(),
        login: site.type1.clone(),
        repository: "qnib/large".into(),
        blob,
    };

    let all_have_begun = async {
        let worker = &site.workers[0];
        eventually("all clients share one reading", async || {
            let joins = worker.metric("metahub_upstream_blob_joins_total").await;
            joins == CLIENTS as u64 - 1
        })
        .await;
        upstream.hold_at(SIZE);
    };
    let (stayed, ()) = tokio::join!(pull.by(CLIENTS, half_leave), all_have_begun);
    let stayed = stayed.expect("every client that stays gets the blob");

    (stayed.len(), upstream.sent())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_cost_the_upstream_one_blob() {
    let (stayed, sent) = pulled(false).await;

    assert_eq!(stayed, CLIENTS);
    assert_eq!(sent, SIZE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_in_the_middle_disturb_none_of_the_others() {
    let (stayed, sent) = pulled(true).await;

    assert_eq!(stayed, CLIENTS / 2);
    assert_eq!(sent, SIZE);
}
