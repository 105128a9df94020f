//! Blobs that workers keep in a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use metahub_cli::demo::registry::Registry;
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    admin::{Admin, Login},
    blob_host::{BlobHost, HugeBlob},
    blob_pull::BlobPull,
    control::Control,
    site::policy,
    wait::eventually,
    worker::{Ports, Worker, WorkerProcess},
};
use tempfile::TempDir;

const MEBIBYTES: u64 = 16;
const SIZE: u64 = MEBIBYTES << 20;

/// A control plane, an upstream of one blob, and a directory.
struct Place {
    control: Control,
    admin: Admin,
    login: Login,
    upstream: BlobHost,
    blob: HugeBlob,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        let blob = HugeBlob::new(MEBIBYTES);
        let upstream = BlobHost::start(blob.clone()).await;
        let control = Control::start().await;
        let mut admin = control.place().admin();
        let (login, _) = policy(&mut admin, &upstream.url()).await;
        Self {
            control,
            admin,
            login,
            upstream,
            blob,
            dir: TempDir::new().expect("a temporary directory"),
        }
    }

    fn flag(&self) -> String {
        format!("--blob-cache={}", self.dir.path().display())
    }

    /// Starts the first `workers` workers of a fleet, all on the one directory.
    async fn workers<const N: usize>(&mut self) -> [WorkerProcess; N] {
        let (ports, mut workers) = (Ports::free(), Vec::new());
        for n in 0..N {
            let n = u8::try_from(n).expect("not many");
            let flags = [&*self.flag()];
            workers.push(WorkerProcess::start_with(self.control.place(), ports, n, &flags).await);
        }
        self.admin.all_current(N).await;
        workers.try_into().expect("as many as were started")
    }

    fn pull_from(&self, worker: &WorkerProcess) -> BlobPull {
        BlobPull {
            worker: worker.addr(),
            login: self.login.clone(),
            repository: "qnib/large".into(),
            blob: self.blob.clone(),
        }
    }

    /// How many times the blob's size the upstream has sent.
    fn blobs(&self) -> f64 {
        self.upstream.sent() as f64 / SIZE as f64
    }

    /// Waits until the blob is kept.
    async fn kept(&self) {
        let file = self.file();
        eventually("the blob is kept", async || file.exists()).await;
    }

    fn file(&self) -> PathBuf {
        let (algorithm, hex) = self.blob.digest.split_once(':').expect("a digest");
        self.dir.path().join(algorithm).join(&hex[..2]).join(hex)
    }

    /// Waits until a worker has opened the file of which a part is written.
    async fn is_read_by(&self, worker: &WorkerProcess) {
        let part = self.part().expect("it is being written");
        let files = PathBuf::from(format!("/proc/{}/fd", worker.pid()));
        eventually("the file is read", async || {
            let files = files.read_dir().expect("the worker runs").flatten();
            let mut files = files.filter_map(|it| fs::read_link(it.path()).ok());
            files.any(|it| it == part)
        })
        .await;
    }

    /// The file of which a part is written.
    fn part(&self) -> Option<PathBuf> {
        let shelf = self.file().parent()?.read_dir().ok()?.flatten();
        let mut files = shelf.map(|it| it.path());
        files.find(|it| it.extension().is_some_and(|it| it == "part"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_starts_again_has_what_it_had() {
    let mut place = Place::new().await;
    let [mut worker] = place.workers().await;
    place.pull_from(&worker).up_to(SIZE).await.unwrap();
    place.kept().await;

    worker.restart().await;
    place.admin.all_current(1).await;

    place.pull_from(&worker).up_to(SIZE).await.unwrap();
    assert_eq!(place.blobs(), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_has_left_is_cleaned_up_and_never_served() {
    let mut place = Place::new().await;
    let [mut worker] = place.workers().await;
    place.upstream.hold_at(SIZE / 2);
    place.pull_from(&worker).up_to(SIZE / 4).await.unwrap();
    let part = place.part().expect("it is being written");
    assert!(!place.file().exists());

    worker.kill();
    assert!(part.exists());
    worker.restart().await;
    place.admin.all_current(1).await;

    eventually("the rest is cleaned up", async || !part.exists()).await;
    place.upstream.hold_at(SIZE);
    place.pull_from(&worker).up_to(SIZE).await.unwrap();
    place.kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_of_a_host_fetch_a_blob_once() {
    let mut place = Place::new().await;
    let [here, there] = place.workers().await;
    place.upstream.hold_at(SIZE / 2);
    place.pull_from(&here).up_to(SIZE / 4).await.unwrap();
    let late = place.pull_from(&there);
    late.up_to(SIZE / 4).await.unwrap();

    let pulls = [place.pull_from(&here), late].map(|pull| async move { pull.up_to(SIZE).await });
    let [here, there] = pulls.map(tokio::spawn);
    place.upstream.hold_at(SIZE);

    here.await.unwrap().unwrap();
    there.await.unwrap().unwrap();
    assert_eq!(place.blobs(), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_while_it_writes_breaks_no_pull_of_another() {
    let mut place = Place::new().await;
    let [mut here, there] = place.workers().await;
    place.upstream.hold_at(SIZE / 2);
    place.pull_from(&here).up_to(SIZE / 4).await.unwrap();
    let late = place.pull_from(&there);
    let late = tokio::spawn(async move { late.up_to(SIZE).await });
    place.is_read_by(&there).await;

    here.kill();
    place.upstream.hold_at(SIZE);

    late.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_stays_within_its_bound() {
    const BOUND: u64 = 8 << 20;
    let dir = TempDir::new().expect("a temporary directory");
    let upstream = Registry::start().await.expect("loopback has a free port");
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, &upstream.url()).await;
    let flag = format!("--blob-cache={}", dir.path().display());
    let flags = [&*flag, "--blob-cache-size=8MiB"];
    let workers = [
        Worker::start_with(control.place(), &flags).await,
        Worker::start_with(control.place(), &flags).await,
    ];
    admin.all_current(2).await;

    for n in 0..40_u8 {
        let digest = upstream.put_blob("qnib/many", vec![n; 1 << 20]);
        let worker = &workers[usize::from(n % 2)];
        let client = metahub_tests::client::RegistryClient::new(worker.addr(), &login);
        let answer = client.get(&format!("/v2/qnib/many/blobs/{digest}")).await;
        assert_eq!(answer.bytes().await.unwrap().len(), 1 << 20);

        let size = size_of(dir.path());
        assert!(size <= BOUND, "{size} bytes after {n}");
    }
    eventually("it is used", async || size_of(dir.path()) > BOUND / 2).await;
}

/// What all blobs below `dir` take together, in bytes.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let size = |path: PathBuf| match fs::metadata(&path) {
        Ok(it) if it.is_dir() => size_of(&path),
        Ok(it) if !path.ends_with("ledger") => it.len(),
        _ => 0,
    };
    entries.flatten().map(|entry| size(entry.path())).sum()
}

#[tokio::test]
async fn what_is_kept_is_given_to_those_alone_who_may_pull_it() {
    let dir = TempDir::new().expect("a temporary directory");
    let flag = format!("--blob-cache={}", dir.path().display());
    let closed = Registry::start().await.expect("loopback has a free port");
    let digest = closed.put_blob("acme/app", "secret");
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let (granted, _) = policy(&mut admin, &closed.url()).await;
    let upstream = Upstream {
        name: "closed.test".into(),
        url: closed.url(),
        restricted: true,
        ..Default::default()
    };
    admin.put_upstream(upstream).await;
    admin.create_grant(Some("qnib"), "closed.test/acme/*").await;
    admin.create_user("moby").await;
    let other = admin.create_type("moby", "type1", &["cpu:broadwell"]).await;
    let worker = Worker::start_with(control.place(), &[&flag]).await;
    admin.all_current(1).await;
    let get = async |login: &Login, repository: &str| {
        let client = metahub_tests::client::RegistryClient::new(worker.addr(), login);
        let path = format!("/v2/closed.test/{repository}/blobs/{digest}");
        client.get(&path).await
    };
    let answer = get(&granted, "acme/app").await;
    assert_eq!(answer.text().await.unwrap(), "secret");

    assert_eq!(get(&other, "acme/app").await.status(), 403);
    assert_eq!(get(&granted, "acme/other").await.status(), 404);
    assert_eq!(get(&granted, "acme/app").await.status(), 200);
}
