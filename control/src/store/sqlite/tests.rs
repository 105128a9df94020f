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
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
    let revision = store.commit(0, &put(user("qnib"))).unwrap();
    drop(store);

    let contents = Sqlite::open(&path, OnEmpty::Begin).unwrap().load().unwrap();

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
    let _first = Sqlite::open(&path, OnEmpty::Begin).unwrap();

    let second = Sqlite::open_within(&path, OnEmpty::Begin, Duration::ZERO);

    assert!(matches!(second, Err(StoreError::InUse { .. })));
}

#[test]
fn a_second_control_plane_cannot_open_the_file_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let _first = Sqlite::open(&path, OnEmpty::Begin).unwrap();
    let [soft, hard] = ["soft.db", "hard.db"].map(|name| dir.path().join(name));
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    fs::hard_link(&path, &hard).unwrap();

    for link in [soft, hard] {
        let second = Sqlite::open_within(&link, OnEmpty::Begin, Duration::ZERO);
        assert!(matches!(second, Err(StoreError::InUse { .. })), "{link:?}");
    }
}

#[test]
fn a_database_that_should_hold_something_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");

    let missing = Sqlite::open(&path, OnEmpty::Refuse);
    fs::write(&path, "").unwrap();
    let empty = Sqlite::open(&path, OnEmpty::Refuse);

    for refused in [missing, empty] {
        assert!(matches!(refused, Err(StoreError::Empty { .. })));
    }
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert!(Sqlite::open(&path, OnEmpty::Begin).is_ok());
}

#[test]
fn a_copy_of_the_file_without_its_log_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let [path, copy] = ["metahub.db", "copy.db"].map(|name| dir.path().join(name));
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
    store.commit(0, &put(user("qnib"))).unwrap();
    fs::copy(&path, &copy).unwrap();

    let opened = Sqlite::open(&copy, OnEmpty::Begin);

    assert!(matches!(opened, Err(StoreError::Empty { .. })));
}

#[test]
fn a_database_that_was_removed_or_replaced_takes_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let [path, away] = ["metahub.db", "away.db"].map(|name| dir.path().join(name));
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
    let is_replaced = |store: &mut Sqlite| {
        let refused = store.commit(0, &put(user("qnib")));
        matches!(refused, Err(StoreError::Replaced { .. }))
    };

    fs::rename(&path, &away).unwrap();
    assert!(is_replaced(&mut store));
    fs::copy(&away, &path).unwrap();
    assert!(is_replaced(&mut store));

    fs::rename(&away, &path).unwrap();
    assert!(store.commit(0, &put(user("qnib"))).is_ok());
}

#[test]
fn damaged_pages_of_the_audit_are_found_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
    for expected in 0..100 {
        store.commit(expected, &put(user("qnib"))).unwrap();
    }
    let root = "select rootpage from sqlite_schema where name = 'audit'";
    let page: u64 = store
        .connection
        .query_row(root, [], |row| row.get::<_, i64>(0))
        .map(from_sql)
        .unwrap();
    drop(store);
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], (page - 1) * 4096).unwrap();

    let opened = Sqlite::open(&path, OnEmpty::Begin);

    assert!(matches!(opened, Err(StoreError::Corrupt { .. })));
}

#[test]
fn the_files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metahub.db");
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
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
    let mut store = Sqlite::open(&path, OnEmpty::Begin).unwrap();
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
