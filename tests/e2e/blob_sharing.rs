//! Many clients, one blob, one reading of the upstream.

use metahub_tests::{
    blob_host::{BlobHost, HugeBlob},
    blob_pull::BlobPull,
    site::Site,
};

const CLIENTS: usize = 100;
/// More than clients that share a reading may be apart.
const MEBIBYTES: u64 = 32;

/// Pulls a blob as many clients at once, of whom half may leave. Says how many
/// stayed, and how many times the blob's size the upstream sent.
async fn pulled(half_leave: bool) -> (usize, f64) {
    let mut site = Site::start(1).await;
    let blob = HugeBlob::new(MEBIBYTES);
    let upstream = BlobHost::start(blob.clone()).await;
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

    let stayed = pull.by(CLIENTS, half_leave).await;
    let stayed = stayed.expect("every client that stays gets the blob");

    let size = (MEBIBYTES << 20) as f64;
    (stayed.len(), upstream.sent() as f64 / size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_cost_the_upstream_one_blob() {
    let (stayed, blobs) = pulled(false).await;

    assert_eq!(stayed, CLIENTS);
    assert!(blobs <= 1.05, "the upstream sent {blobs} times the blob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_in_the_middle_disturb_none_of_the_others() {
    let (stayed, blobs) = pulled(true).await;

    assert_eq!(stayed, CLIENTS / 2);
    assert!(blobs <= 1.05, "the upstream sent {blobs} times the blob");
}
