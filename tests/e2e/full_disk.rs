//! A blob cache on a disk that is smaller than it may grow.

use std::{fs, path::Path, process::Command};

use metahub_tests::{
    blob_host::{BlobHost, HugeBlob},
    blob_pull::BlobPull,
    control::Control,
    site::policy,
    wait::eventually,
    worker::Worker,
};
use tempfile::TempDir;

/// A file system in memory, mounted until it is dropped.
struct Disk(TempDir);

impl Disk {
    fn of(mebibytes: u64) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        // A worker uses no directory that others can write.
        let options = format!("size={mebibytes}m,mode=700");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(args).arg(dir.path()).status();
        assert!(mounted.expect("mount can be run").success());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a worker may have a file open still.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_in_the_middle_breaks_no_pull() {
    let disk = Disk::of(8);
    let blob = HugeBlob::new(16);
    let upstream = BlobHost::start(blob.clone()).await;
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, &upstream.url()).await;
    let flag = format!("--blob-cache={}", disk.path().display());
    let worker = Worker::start_with(control.place(), &[&flag]).await;
    admin.all_current(1).await;
    let pull = BlobPull {
        worker: worker.addr(),
        login,
        repository: "qnib/large".into(),
        blob,
    };

    // The second round finds the disk full from the start.
    for _ in 0..2 {
        let stayed = pull.by(5, false).await;
        assert_eq!(stayed.expect("every client gets the blob").len(), 5);
    }

    let metrics = format!("http://{}/metrics", worker.admin_addr());
    let text = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    let failed = r#"metahub_blob_cache_failures_total{cause="write"} 1"#;
    assert!(text.contains(failed), "{text}");
    let shelves = || fs::read_dir(disk.path().join("sha256")).expect("it was begun");
    eventually("nothing is left of it", async || {
        shelves().all(|shelf| {
            let shelf = shelf.expect("it can be read").path();
            fs::read_dir(shelf).expect("it can be read").count() == 0
        })
    })
    .await;
}
