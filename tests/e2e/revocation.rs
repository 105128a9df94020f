//! Transfers that are under way when their login is deleted.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use metahub_tests::{
    admin::{Admin, Login},
    blob_host::{BlobHost, HugeBlob},
    blob_pull::BlobPull,
    control::Control,
    site::policy,
    worker::{Ports, WorkerProcess},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const MEBIBYTES: u64 = 64;
const SIZE: u64 = MEBIBYTES << 20;
/// How long a transfer may outlive the permission.
const LIMIT: Duration = Duration::from_secs(5);

/// A worker, its control plane, and an upstream of one blob.
struct Place {
    _control: Control,
    admin: Admin,
    /// Two hosts.
    logins: [Login; 2],
    upstream: BlobHost,
    blob: HugeBlob,
    worker: WorkerProcess,
}

impl Place {
    async fn new(flags: &[&str]) -> Self {
        let blob = HugeBlob::new(MEBIBYTES);
        let upstream = BlobHost::start(blob.clone()).await;
        let control = Control::start().await;
        let mut admin = control.place().admin();
        let logins = policy(&mut admin, &upstream.url()).await;
        let worker = WorkerProcess::start_with(control.place(), Ports::free(), 0, flags).await;
        admin.all_current(1).await;
        Self {
            _control: control,
            admin,
            logins: logins.into(),
            upstream,
            blob,
            worker,
        }
    }

    fn pull(&self, host: usize) -> BlobPull {
        BlobPull {
            worker: self.worker.addr(),
            login: self.logins[host].clone(),
            repository: "qnib/large".into(),
            blob: self.blob.clone(),
        }
    }

    /// A client that has asked for the blob and has not begun to read.
    async fn asked(&self) -> TcpStream {
        let (addr, digest) = (self.worker.addr(), &self.blob.digest);
        let Login { name, secret, .. } = &self.logins[0];
        let basic = STANDARD.encode(format!("{name}:{secret}"));
        let request = format!(
            "GET /v2/qnib/large/blobs/{digest} HTTP/1.1\r\nHost: {addr}\r\n\
             Authorization: Basic {basic}\r\n\r\n"
        );
        let mut client = TcpStream::connect(addr).await.expect("it listens");
        client
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut head = [0; 12];
        client.read_exact(&mut head).await.expect("it answers");
        assert_eq!(&head, b"HTTP/1.1 200");
        client
    }

    async fn delete_login(&mut self) {
        let name = self.logins[0].name.clone();
        self.admin.delete_login(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_transfer_ends_for_the_login_that_is_deleted_and_goes_on_for_the_other() {
    let mut place = Place::new(&[]).await;
    place.upstream.hold_at(SIZE / 8);
    let mut client = place.asked().await;
    let other = place.pull(1);
    let other = tokio::spawn(async move { other.up_to(SIZE).await });

    place.delete_login().await;

    assert!(read(&mut client).await <= SIZE / 8);
    place.upstream.hold_at(SIZE);
    other.await.unwrap().expect("all of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_from_the_disk_ends_for_the_login_that_is_deleted() {
    let directory = TempDir::new().expect("a temporary directory");
    let flag = format!("--blob-cache={}", directory.path().display());
    let mut place = Place::new(&[&flag]).await;
    place.pull(1).up_to(SIZE).await.unwrap();
    let mut client = place.asked().await;

    place.delete_login().await;
    place.admin.all_current(1).await;

    assert!(read(&mut client).await < SIZE / 2);
}

/// Reads until the connection is reset, which is soon; says how much came.
async fn read(client: &mut TcpStream) -> u64 {
    let mut rest = Vec::new();
    let read = timeout(LIMIT, client.read_to_end(&mut rest)).await;
    read.expect("it ends in time").expect_err("it is reset");
    rest.len() as u64
}
