//! A backup is made, changes follow, and the backup is restored: the same
//! revisions then mean something else, and no worker may take one for the
//! other.

use std::{fs, path::Path};

use metahub_tests::{
    admin::{Admin, Login},
    client::RegistryClient,
    control::{ControlProcess, Place},
    invocation::run,
    program::sqlite3,
    wait::within,
    worker::Worker,
};
use tempfile::TempDir;

use super::site::{OUTAGE, REPLICAS, Site, store, types};

/// How many changes follow the backup.
const LOST: usize = 3;
/// How many others are made after the restore, before workers are back: their
/// revision is then newer, the same, or older than the control plane's.
const MADE: [usize; 3] = [0, LOST, LOST + 2];

/// Creates so many machine types.
async fn create(admin: &mut Admin, name: &str, count: usize) -> Vec<Login> {
    let mut logins = Vec::new();
    for n in 0..count {
        let name = format!("{name}{n}");
        logins.push(admin.create_type("qnib", &name, &[]).await);
    }
    logins
}

/// Waits until every worker serves these logins and refuses those.
async fn serve(workers: &[Worker], served: &[Login], refused: &[Login]) {
    for worker in workers {
        within(
            OUTAGE,
            "the worker serves what is in the store",
            async || all_are(worker, served, 200).await && all_are(worker, refused, 401).await,
        )
        .await;
    }
}

async fn all_are(worker: &Worker, logins: &[Login], status: u16) -> bool {
    for login in logins {
        let client = RegistryClient::new(worker.addr(), login);
        if client.get("/v2/").await.status() != status {
            return false;
        }
    }
    true
}

/// Changes what is in a store that no worker is told of.
async fn change_unseen(place: &Place, store: &str, name: &str, count: usize) -> Vec<Login> {
    let control = ControlProcess::start_with(place.twin(), &[store]).await;
    let made = create(&mut control.place().admin(), name, count).await;
    drop(control.kill());
    made
}

#[tokio::test]
async fn workers_come_to_serve_what_was_restored_to_etcd() {
    let mut site = Site::start().await;
    let dir = TempDir::new().expect("a temporary directory");
    let mut kept = create(&mut site.admin(0), "kept", 1).await;
    for made in MADE {
        let backup = dir.path().join(format!("{made}.db"));
        site.etcd.save(&backup).await;
        let lost = create(&mut site.admin(1), &format!("lost{made}x"), LOST).await;
        serve(&site.workers, &lost, &[]).await;

        for n in 0..REPLICAS {
            site.stop_control(n);
        }
        site.etcd.restore(&backup).await;
        let (flag, name) = (store(&site.etcd), format!("made{made}x"));
        kept.extend(change_unseen(&site.places[0], &flag, &name, made).await);
        for n in 0..REPLICAS {
            site.start_control(n).await;
        }

        serve(&site.workers, &kept, &lost).await;
        for n in 0..REPLICAS {
            site.admin(n).all_current(site.workers.len()).await;
        }
    }
}

/// It should have been stopped, and is not told that etcd was.
#[tokio::test]
async fn a_replica_that_was_left_running_comes_to_what_was_restored_to_etcd() {
    let mut site = Site::start().await;
    let dir = TempDir::new().expect("a temporary directory");
    for made in MADE {
        let backup = dir.path().join(format!("{made}.db"));
        site.etcd.save(&backup).await;
        create(&mut site.admin(0), &format!("lost{made}x"), LOST).await;
        site.stop_control(1);
        let left = site.controls[0].as_ref().expect("it runs");
        within(OUTAGE, "it has what will be lost", async || {
            has(&site, 0, &format!("lost{made}x2")).await
        })
        .await;

        left.pause();
        site.etcd.restore(&backup).await;
        let (flag, name) = (store(&site.etcd), format!("made{made}x"));
        change_unseen(&site.places[1], &flag, &name, made).await;
        left.resume();

        within(OUTAGE, "it has forgotten what was lost", async || {
            !has(&site, 0, &format!("lost{made}x0")).await
        })
        .await;
        site.start_control(1).await;
        let both = [
            types(&mut site.admin(0)).await,
            types(&mut site.admin(1)).await,
        ];
        assert_eq!(both[0], both[1]);
        for n in 0..REPLICAS {
            site.admin(n).all_current(site.workers.len()).await;
        }
    }
}

async fn has(site: &Site, replica: usize, name: &str) -> bool {
    let types = types(&mut site.admin(replica)).await;
    types.iter().any(|it| it == name)
}

/// As the manual says.
async fn back_up(database: &Path, copy: &Path) {
    let command = format!(".backup {}", copy.display());
    let done = run(&sqlite3(), [database.as_os_str(), command.as_ref()]).await;
    done.text();
}

/// The same.
fn restore(database: &Path, copy: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", database.display()));
    }
    fs::copy(copy, database).expect("there is room");
}

#[tokio::test]
async fn workers_come_to_serve_what_was_restored_to_sqlite() {
    let mut control = ControlProcess::start().await;
    let place = control.place().clone();
    let database = place.dir().join("metahub.db");
    place.admin().create_user("qnib").await;
    let mut kept = create(&mut place.admin(), "kept", 1).await;
    let workers = [Worker::start(&place).await, Worker::start(&place).await];
    for made in MADE {
        let copy = place.dir().join(format!("{made}.db"));
        back_up(&database, &copy).await;
        let lost = create(&mut place.admin(), &format!("lost{made}x"), LOST).await;
        serve(&workers, &lost, &[]).await;

        drop(control.kill());
        restore(&database, &copy);
        let (flag, name) = (
            format!("--store=sqlite:{}", database.display()),
            format!("made{made}x"),
        );
        kept.extend(change_unseen(&place, &flag, &name, made).await);
        control = ControlProcess::start_at(place.clone()).await;

        serve(&workers, &kept, &lost).await;
        place.admin().all_current(workers.len()).await;
    }
}
