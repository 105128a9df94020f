//! What the SQLite store promises.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use super::*;
use crate::{
    catalog::Actor,
    records::{Account, Blobs, Secret, Upstream, User},
};

fn user(name: &str) -> Record {
    Record::User(User {
        name: name.into(),
        password_hash: Some(Secret::from("hunter2".to_owned())),
    })
}

fn upstream(password: &str) -> Record {
    Record::Upstream(Upstream {
        name: "ghcr.io".into(),
        url: "https://ghcr.io".into(),
        is_default: false,
        account: Some(Account {
            username: "robot".into(),
            password: Secret::from(password.to_owned()),
        }),
        restricted: false,
        insecure: false,
        ca_pem: None,
        blobs: Blobs::Proxy,
        hosts: Vec::new(),
        http1: false,
        fallback_urls: Vec::new(),
        proxy: None,
        repository_prefix: None,
        token_hosts: Vec::new(),
        client_certificate: None,
    })
}

fn put(record: Record) -> Batch {
    Batch {
        actor: Actor::on_its_own("admin"),
        action: "test.put",
        changes: vec![Change {
            key: record.key(),
            before: None,
            after: Some(Arc::new(record)),
        }],
    }
}

fn delete(record: Record) -> Batch {
    Batch {
        actor: Actor::on_its_own("admin"),
        action: "test.delete",
        changes: vec![Change {
            key: record.key(),
            before: Some(Arc::new(record)),
            after: None,
        }],
    }
}

#[test]
fn what_is_committed_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/metahub.db");
    let mut store = Sqlite::open(&path).unwrap();
    let revision = store.commit(0, &put(user("qnib"))).unwrap();
    drop(store);

    let contents = Sqlite::open(&path).unwrap().load().unwrap();

    assert_eq!(contents.revision, revision);
    assert_eq!(contents.records, [(Key::user("qnib"), user("qnib"))]);
    assert_eq!(contents.recent, [(1, vec![Key::user("qnib")])]);
}

#[test]
fn a_deleted_record_stays_deleted() {
    let mut store = Sqlite::in_memory().unwrap();
    store.commit(0, &put(user("qnib"))).unwrap();

    store.commit(1, &delete(user("qnib"))).unwrap();

    assert_eq!(store.load().unwrap().records, []);
}

#[test]
fn a_commit_at_a_stale_revision_changes_nothing() {
    let mut store = Sqlite::in_memory().unwrap();
    store.commit(0, &put(user("qnib"))).unwrap();

    let refused = store.commit(0, &put(user("moby")));

    assert!(matches!(refused, Err(StoreError::Conflict { expected: 0 })));
    assert_eq!(store.load().unwrap().records.len(), 1);
}

#[test]
fn two_stores_have_different_epochs() {
    let one = Sqlite::in_memory().unwrap().load().unwrap();
    let other = Sqlite::in_memory().unwrap().load().unwrap();

    assert_ne!(one.revision.epoch, other.revision.epoch);
}

#[test]
fn a_second_control_plane_cannot_open_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let _first = Sqlite::open(&path).unwrap();

    let second = Sqlite::open_within(&path, Duration::ZERO);

    assert!(matches!(second, Err(StoreError::InUse { .. })));
}

#[test]
fn the_files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let mut store = Sqlite::open(&path).unwrap();
    store.commit(0, &put(user("qnib"))).unwrap();

    let mut files = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        files += 1;
    }
    assert!(files >= 2, "the main file and the write-ahead log");
}

#[test]
fn the_audit_tells_who_did_what_without_secrets() {
    let mut store = Sqlite::in_memory().unwrap();
    store.commit(0, &put(user("qnib"))).unwrap();
    store.commit(1, &put(upstream("hunter2"))).unwrap();

    let audited: Vec<(i64, String, String, String)> = store
        .connection
        .prepare("select revision, actor, action, after from audit order by id")
        .unwrap()
        .query_map([], |row| row.try_into())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();

    assert_eq!(audited.len(), 2);
    assert_eq!(audited[1].0, 2);
    assert_eq!(audited[1].1, "admin");
    assert!(audited.iter().all(|row| row.3.contains("***")));
    assert!(audited.iter().all(|row| !row.3.contains("hunter2")));
}

#[test]
fn a_replaced_password_is_kept_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let mut store = Sqlite::open(&path).unwrap();
    store.commit(0, &put(upstream("first-password"))).unwrap();

    store.commit(1, &put(upstream("second-password"))).unwrap();

    let rows: i64 = store
        .connection
        .query_row(
            "select (select count(*) from record where value like '%first-password%')
                  + (select count(*) from audit where before like '%first-password%')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn the_log_of_changed_keys_is_bounded() {
    let mut store = Sqlite::in_memory().unwrap();

    for expected in 0..LOGGED_REVISIONS + 5 {
        store.commit(expected, &put(user("qnib"))).unwrap();
    }

    let recent = store.load().unwrap().recent;
    assert_eq!(recent.len() as u64, LOGGED_REVISIONS);
    assert_eq!(recent.first().map(|(number, _)| *number), Some(6));
}
