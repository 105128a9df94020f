//! What the store in etcd promises, shown with a real one.

#![cfg(feature = "real-parts")]

mod access;
mod neighbours;
mod replicas;

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{layout::one, reader::Beyond, *};
use crate::{
    catalog::Actor,
    records::{Key, Login, Record, Secret, User},
    store::{Change, Commit, Store, StoreLocation},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// One real etcd node on free ports. Ends when dropped.
struct Server {
    process: Child,
    url: String,
    _data: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_with("http", &[])
    }

    fn start_with(scheme: &str, flags: &[String]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let [client, peer] = [scheme, "http"].map(free_url);
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(data.path())
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .arg(format!("--initial-cluster=default={peer}"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed: apt-get install etcd-server");
        Self {
            process,
            url: client,
            _data: data,
        }
    }

    fn cluster(&self) -> EtcdCluster {
        format!("{}/test", self.url).parse().unwrap()
    }

    async fn ctl(&self, args: &[&str]) {
        let done = tokio::process::Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url])
            .args(args)
            .output();
        let output = done.await.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// One more replica's store.
    async fn store(&self) -> Etcd {
        Etcd::open(&self.cluster(), &EtcdAccess::default(), OnEmpty::Begin)
            .await
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A URL whose port nobody uses. The kernel gives none of these to whoever takes
/// any, and each is given out here once.
fn free_url(scheme: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(12_000);
    loop {
        let addr = SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(1, Relaxed)));
        if TcpListener::bind(addr).is_ok() {
            return format!("{scheme}://{addr}");
        }
    }
}

fn user(name: &str) -> Record {
    Record::User(User {
        name: name.into(),
        password_hash: None,
    })
}

fn login(number: usize) -> Record {
    Record::Login(Login {
        user: "qnib".into(),
        machine_type: format!("type{number}"),
        secret_sha256: Secret::from("00".repeat(32)),
        allow_selectors: false,
        label: None,
        host: None,
    })
}

fn batch(changes: Vec<(Key, Option<Record>)>) -> Batch {
    let change = |(key, after): (Key, Option<Record>)| Change {
        key,
        before: None,
        after: after.map(Arc::new),
    };
    Batch {
        actor: Actor::told_of("test".into(), None),
        action: "test.put",
        changes: changes.into_iter().map(change).collect(),
    }
}

fn put(record: Record) -> Batch {
    batch(vec![(record.key(), Some(record))])
}

fn logins(count: usize) -> Batch {
    let records = (0..count).map(login);
    batch(records.map(|it| (it.key(), Some(it))).collect())
}

async fn next_commit(news: &mut mpsc::Receiver<News>) -> Commit {
    match timeout(PATIENCE, news.recv()).await.unwrap().unwrap() {
        News::Commit(commit) => commit,
        News::Whole(contents) => panic!("all of {} instead of a commit", contents.revision),
    }
}

/// How many keys start as `start` does.
async fn count(store: &Etcd, start: &str) -> usize {
    store.cluster.pages(start, 0).await.unwrap().len()
}

#[tokio::test]
async fn what_one_replica_commits_reaches_the_other() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    let (contents, mut news) = other.watch().await.unwrap();

    let revision = one.commit(0, put(user("qnib"))).await.unwrap();

    let commit = next_commit(&mut news).await;
    assert_eq!(commit.revision, revision);
    assert_eq!(revision.epoch, contents.revision.epoch);
    assert_eq!(commit.changes[0].after.as_deref(), Some(&user("qnib")));
    one.commit(1, batch(vec![(Key::user("qnib"), None)]))
        .await
        .unwrap();
    let commit = next_commit(&mut news).await;
    assert_eq!(commit.changes[0].key, Key::user("qnib"));
    assert_eq!(commit.changes[0].after, None);
}

#[tokio::test]
async fn of_many_commits_from_one_revision_one_wins() {
    let server = Server::start();
    let stores = [
        server.store().await,
        server.store().await,
        server.store().await,
    ];

    let commits = stores.iter().zip(["a", "b", "c"]);
    let commits = commits.map(|(store, name)| store.commit(0, put(user(name))));
    let outcomes = futures_util::future::join_all(commits).await;

    let won = outcomes.iter().filter(|it| it.is_ok()).count();
    assert_eq!(won, 1, "{outcomes:?}");
    let lost = outcomes.iter().filter(|it| it.is_err());
    for outcome in lost {
        assert!(matches!(outcome, Err(StoreError::Conflict { expected: 0 })));
    }
    assert_eq!(stores[0].watch().await.unwrap().0.records.len(), 1);
}

#[tokio::test]
async fn a_replica_that_starts_later_knows_what_changed_lately() {
    let server = Server::start();
    let first = server.store().await;
    first.commit(0, put(user("qnib"))).await.unwrap();
    let revision = first.commit(1, logins(250)).await.unwrap();

    let (contents, _news) = server.store().await.watch().await.unwrap();

    assert_eq!(contents.revision, revision);
    assert_eq!(contents.records.len(), 251);
    let recent: Vec<_> = contents
        .recent
        .iter()
        .map(|it| (it.0, it.1.len()))
        .collect();
    assert_eq!(recent, [(1, 1), (2, 250)]);
}

#[tokio::test]
async fn a_batch_of_many_pieces_is_one_commit() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    let (_, mut news) = other.watch().await.unwrap();

    one.commit(0, logins(1_500)).await.unwrap();

    let commit = next_commit(&mut news).await;
    assert_eq!(commit.changes.len(), 1_500);
    assert!(commit.changes.iter().all(|it| it.after.is_some()));
    assert_eq!(count(&one, "/test/stage/").await, 0);
}

#[tokio::test]
async fn ten_thousand_logins_are_one_commit() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);
    let (_, mut news) = other.watch().await.unwrap();

    let revision = one.commit(0, logins(10_000)).await.unwrap();

    let first = timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
    let News::Whole(contents) = first else {
        panic!("so many are read anew");
    };
    assert_eq!(contents.revision, revision);
    assert_eq!(contents.records.len(), 10_000);
}

#[tokio::test]
async fn what_a_writer_left_undecided_is_swept_by_the_next_commit() {
    let server = Server::start();
    let (stopped, other) = (server.store().await, server.store().await);
    let plan = stopped.cluster.plan(1, &logins(300)).unwrap();
    stopped.cluster.stage(1, &plan).await.unwrap();
    assert!(count(&other, "/test/stage/").await > 1);

    other.commit(0, put(user("qnib"))).await.unwrap();

    assert_eq!(count(&other, "/test/stage/").await, 0);
    assert_eq!(other.watch().await.unwrap().0.records.len(), 1);
}

#[tokio::test]
async fn what_a_writer_left_decided_is_put_in_place_by_whoever_comes_by() {
    let server = Server::start();
    let (stopped, other) = (server.store().await, server.store().await);
    let (_, mut news) = other.watch().await.unwrap();
    let plan = stopped.cluster.plan(1, &logins(300)).unwrap();
    stopped.cluster.stage(1, &plan).await.unwrap();
    let seen = stopped.cluster.head().await.unwrap();

    stopped.cluster.decide(&seen, &plan).await.unwrap();

    assert_eq!(next_commit(&mut news).await.changes.len(), 300);
    let refused = other.commit(0, put(user("qnib"))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    assert_eq!(
        server.store().await.watch().await.unwrap().0.records.len(),
        300
    );
}

#[tokio::test]
async fn a_straggler_undoes_nothing_that_came_later() {
    let server = Server::start();
    let store = server.store().await;
    let cluster = &store.cluster;
    let plan = cluster.plan(1, &logins(300)).unwrap();
    cluster.stage(1, &plan).await.unwrap();
    cluster
        .decide(&cluster.head().await.unwrap(), &plan)
        .await
        .unwrap();
    let pending = cluster.head().await.unwrap();
    let piece = cluster.layout.stage_piece(1, &plan.batch, 0);
    let staged = cluster.client.range(one(piece)).await.unwrap();
    let ops = layout::staged(&staged.kvs[0]).unwrap();
    let gone = batch(vec![(login(0).key(), None)]);
    cluster.settle(&pending).await.unwrap();
    store.commit(1, gone).await.unwrap();

    cluster.if_unmoved(&pending, ops).await.unwrap();

    assert_eq!(store.watch().await.unwrap().0.records.len(), 299);
}

#[tokio::test]
async fn a_commit_whose_answer_got_lost_is_found_in_the_log() {
    let server = Server::start();
    let store = server.store().await;
    let plan = store.cluster.plan(1, &put(user("qnib"))).unwrap();
    let committed = store.cluster.commit_plan(0, &plan).await.unwrap();

    let at_once = store.cluster.commit_plan(0, &plan).await.unwrap();
    store.commit(1, put(user("moby"))).await.unwrap();
    let later = store.cluster.commit_plan(0, &plan).await.unwrap();

    assert_eq!((at_once, later), (committed, committed));
}

#[tokio::test]
async fn one_who_was_away_for_longer_than_the_log_reads_everything() {
    let server = Server::start();
    let store = server.store().await;
    let known = store.cluster.commit(0, &put(user("a"))).await.unwrap();
    store.commit(1, put(user("b"))).await.unwrap();
    store.commit(2, put(user("c"))).await.unwrap();
    let sweep = pb::TxnRequest {
        success: vec![layout::delete_range(
            store.cluster.layout.log(0),
            store.cluster.layout.log(3),
        )],
        ..pb::TxnRequest::default()
    };
    store.cluster.client.txn(sweep).await.unwrap();

    let (beyond, _) = store.cluster.beyond(&known).await.unwrap();

    let Beyond::News(News::Whole(contents), _) = beyond else {
        panic!("everything was expected");
    };
    assert_eq!(contents.records.len(), 3);
}

/// A restore put another batch in the place of the one that is known.
#[tokio::test]
async fn one_whose_history_is_no_more_reads_everything() {
    let server = Server::start();
    let store = server.store().await;
    let known = store.cluster.commit(0, &put(user("a"))).await.unwrap();
    let same = reader::Known {
        batch: "another".into(),
        ..known
    };

    for later in 1..3 {
        let (beyond, _) = store.cluster.beyond(&same).await.unwrap();
        assert!(matches!(beyond, Beyond::News(News::Whole(_), _)));
        store.commit(later, put(user("b"))).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_compacted_away_while_it_is_read_is_read_anew() {
    let server = Server::start();
    let store = server.store().await;
    store.commit(0, logins(5_000)).await.unwrap();
    let done = CancellationToken::new();

    let compactions = async {
        let _done = done.clone().drop_guard();
        for number in 1..=10 {
            store.commit(number, put(user("a"))).await.unwrap();
            let seen = store.cluster.head().await.unwrap();
            server.ctl(&["compact", &seen.read_at.to_string()]).await;
        }
    };
    let loads = async {
        while !done.is_cancelled() {
            assert!(store.load().await.unwrap().records.len() >= 5_000);
        }
    };

    tokio::join!(compactions, loads);
}

#[tokio::test]
async fn several_missed_commits_are_told_as_one() {
    let server = Server::start();
    let store = server.store().await;
    let known = store.cluster.commit(0, &put(user("a"))).await.unwrap();
    store.commit(1, put(user("b"))).await.unwrap();
    let gone = batch(vec![(Key::user("a"), None)]);
    let newest = store.commit(2, gone).await.unwrap();

    let (beyond, _) = store.cluster.beyond(&known).await.unwrap();

    let Beyond::News(News::Commit(commit), _) = beyond else {
        panic!("a commit was expected");
    };
    assert_eq!(commit.revision, newest);
    let told: Vec<_> = commit
        .changes
        .iter()
        .map(|it| (it.key.as_str(), it.after.is_some()))
        .collect();
    assert_eq!(told, [("user/a", false), ("user/b", true)]);
}

#[tokio::test]
async fn the_audit_is_read_by_whole_revisions_and_swept_from_its_start() {
    let server = Server::start();
    let store = server.store().await;
    store.commit(0, put(user("a"))).await.unwrap();
    store.commit(1, logins(250)).await.unwrap();

    let records = store.audit(0, 2).await.unwrap();
    let rest = store.audit(1, 2).await.unwrap();
    let young = store.sweep_audit(records[0].at_unix_ms).await.unwrap();
    let swept = store.sweep_audit(u64::MAX).await.unwrap();

    let sizes: Vec<_> = records
        .iter()
        .map(|it| (it.revision, it.changes.len()))
        .collect();
    assert_eq!(sizes, [(1, 1), (2, 250)]);
    assert_eq!(rest, records[1..]);
    assert_eq!(records[0].actor, batch(Vec::new()).actor);
    assert_eq!((young, swept), (0, 251));
    assert_eq!(store.audit(0, 2).await.unwrap(), []);
    assert_eq!(store.audit_reach().await.unwrap(), 2);
}

#[tokio::test]
async fn a_whole_store_is_put_into_an_empty_cluster_only() {
    let server = Server::start();
    let access = EtcdAccess::default();
    let place =
        |prefix: &str| StoreLocation::Etcd(format!("{}/{prefix}", server.url).parse().unwrap());
    let from = server.store().await;
    from.commit(0, put(user("a"))).await.unwrap();
    let revision = from.commit(1, logins(300)).await.unwrap();

    for outcome in [true, false] {
        let whole = Store::read_whole(place("test"), &access).await.unwrap();
        let written = Store::write_whole(place("copy"), &access, whole).await;
        assert_eq!(written.is_ok(), outcome, "{written:?}");
    }

    let copy = Store::read_whole(place("copy"), &access).await.unwrap();
    assert_eq!(copy.contents.revision, revision);
    assert_eq!(copy.contents.records, from.load().await.unwrap().records);
    assert_eq!(copy.contents.recent.len(), 2);
    assert_eq!(copy.audit, from.audit(0, usize::MAX).await.unwrap());
}
