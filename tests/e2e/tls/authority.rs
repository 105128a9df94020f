//! Another authority takes the place of the one that is there.

use std::{fs, path::PathBuf};

use metahub_tests::{
    metahubctl::{Metahubctl, Said},
    worker::spawn_bare,
};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// One person's metahubctl, which knows a control plane.
struct Person {
    metahubctl: Metahubctl,
    token: String,
}

impl Person {
    fn at(place: &Place) -> Self {
        Self {
            metahubctl: Metahubctl::new(&place.url()),
            token: fs::read_to_string(place.admin_token_file()).expect("there is one"),
        }
    }

    /// One to whom the fingerprint was given.
    async fn who_knows(control: &Control) -> Self {
        let person = Self::at(control.place());
        let given = format!("--fingerprint={}", control.fingerprint());
        person.run(&["user", "list", &given]).await.text();
        person
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        self.metahubctl.run_with(&self.token, arguments).await
    }

    async fn authority(&self, arguments: &[&str]) -> Value {
        let command = [&["authority"], arguments, &["-o", "json"]].concat();
        self.run(&command).await.json()
    }

    /// Waits until each worker has a certificate of the newest authority.
    async fn no_worker_is_behind(&self) {
        eventually("no worker is behind", async || {
            let shown = self.authority(&["show"]).await;
            shown["behind"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    }
}

/// Where a worker keeps what it has from joining.
fn state_file(host: &TempDir) -> PathBuf {
    host.path().join("state/identity.json")
}

fn pinned(host: &TempDir) -> Value {
    let text = fs::read(state_file(host)).unwrap_or_default();
    let state: Value = serde_json::from_slice(&text).unwrap_or_default();
    state["pinned"].clone()
}

/// A worker that joins with a token for one.
async fn joined(control: &Control, id: &str) -> (Worker, TempDir) {
    let host = TempDir::new().expect("a temporary directory");
    let token = control.place().admin().create_join_token(id, 1).await;
    (start(control.place(), &host, id, &token).await, host)
}

async fn start(place: &Place, host: &TempDir, id: &str, token: &str) -> Worker {
    Worker::start_bare(place, &flags(host, id, token)).await
}

fn flags(host: &TempDir, id: &str, token: &str) -> [&'static str; 3] {
    fs::write(host.path().join("token"), token).expect("there is room");
    let path = host.path().display();
    [
        format!("--worker-id={id}"),
        format!("--join-token-file={path}/token"),
        format!("--state-dir={path}/state"),
    ]
    .map(|flag| &*flag.leak())
}

/// How many authorities the control plane's file for that holds.
fn authorities(place: &Place) -> usize {
    let text = fs::read_to_string(place.ca_file()).expect("it is there");
    text.matches("BEGIN CERTIFICATE").count()
}

/// Waits until the port's certificate is rooted in the authority with this
/// fingerprint.
async fn rooted_in(place: &Place, fingerprint: &Value) {
    eventually("the port's certificate is from it", async || {
        root_at(place).await == *fingerprint
    })
    .await;
}

#[tokio::test]
async fn another_authority_takes_over_and_no_one_who_was_there_loses_the_control_plane() {
    let control = secure().await;
    let former = control.fingerprint().to_owned();
    let (_worker, host) = joined(&control, "w1").await;
    let mut admin = control.place().admin();
    let open = open_since(&mut admin).await;
    let person = Person::who_knows(&control).await;

    let rotated = person.authority(&["rotate"]).await;
    let new = &rotated["fingerprint"];
    rooted_in(control.place(), new).await;
    person.no_worker_is_behind().await;
    let retired = person.authority(&["retire"]).await;
    person.run(&["user", "create", "qnib"]).await.text();
    let still_open = open_since(&mut admin).await;
    let place = control.stop().await;
    let control = Control::start_at(place).await;

    assert_eq!(rotated["former_fingerprint"], *former);
    assert_eq!(retired["former_fingerprint"], Value::Null);
    assert_eq!(still_open, open);
    assert_eq!(pinned(&host), *new);
    assert_eq!(control.fingerprint(), new.as_str().expect("a text"));
    person.run(&["user", "list"]).await.text();
    control.place().admin().all_current(1).await;
}

#[tokio::test]
async fn whoever_knows_the_former_authority_alone_is_let_in_until_that_is_retired() {
    let control = secure().await;
    let (absent, left) = (
        Person::who_knows(&control).await,
        Person::who_knows(&control).await,
    );
    let person = Person::who_knows(&control).await;
    let (early, late) = ("early", "late");
    let mut admin = control.place().admin();
    let early_token = admin.create_join_token(early, 1).await;
    let late_token = admin.create_join_token(late, 1).await;

    let rotated = person.authority(&["rotate"]).await;
    rooted_in(control.place(), &rotated["fingerprint"]).await;
    left.run(&["user", "list"]).await.text();
    let early_host = TempDir::new().expect("a temporary directory");
    let _worker = start(control.place(), &early_host, early, &early_token).await;
    person.authority(&["retire"]).await;
    eventually("one authority is trusted", async || {
        authorities(control.place()) == 1
    })
    .await;
    let refused = absent.run(&["user", "list"]).await;

    let complaint = refused.complaint();
    let said = "is not the control plane that was there";
    assert!(complaint.contains(said), "{complaint}");
    left.run(&["user", "list"]).await.text();
    assert_eq!(pinned(&early_host), rotated["fingerprint"]);
    let late_host = TempDir::new().expect("a temporary directory");
    let flags = flags(&late_host, late, &late_token);
    let refused = spawn_bare(control.place(), &flags, late_host.path());
    eventually("it is not let in", async || {
        refused.log().contains("was expected")
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_away_keeps_the_former_authority_from_being_retired_but_by_force() {
    let control = secure().await;
    let (worker, host) = joined(&control, "w1").await;
    let person = Person::who_knows(&control).await;
    worker.stop().await;

    person.authority(&["rotate"]).await;
    let again = person.run(&["authority", "rotate"]).await;
    let refused = person.run(&["authority", "retire"]).await;
    let forced = person.run(&["authority", "retire", "--force"]).await;

    assert!(again.complaint().contains("authority retire"));
    let complaint = refused.complaint();
    assert!(
        complaint.contains("`w1`") && complaint.contains("--force"),
        "{complaint}"
    );
    forced.text();
    let token = control.place().admin().create_join_token("w2", 1).await;
    fs::remove_file(state_file(&host)).expect("it is there");
    let _worker = start(control.place(), &host, "w1", &token).await;
}

/// The port takes a moment to have a certificate of it.
#[tokio::test]
async fn a_join_token_made_right_after_a_rotation_outlives_the_former_authority() {
    let control = secure().await;
    let person = Person::who_knows(&control).await;

    let rotated = person.authority(&["rotate"]).await;
    let token = control.place().admin().create_join_token("w1", 1).await;
    person.authority(&["retire"]).await;
    rooted_in(control.place(), &rotated["fingerprint"]).await;

    let host = TempDir::new().expect("a temporary directory");
    let _worker = start(control.place(), &host, "w1", &token).await;
}

#[tokio::test]
async fn a_join_token_that_the_control_plane_keeps_in_a_file_names_the_newest_authority() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("join-token");
    let flag = format!("--join-token-file={}", file.display());
    let control = Control::start_with(&["--tls", &flag]).await;
    let person = Person::who_knows(&control).await;
    let read = || fs::read_to_string(&file).expect("there is a token");
    let before = read();

    let rotated = person.authority(&["rotate"]).await;
    rooted_in(control.place(), &rotated["fingerprint"]).await;

    let new = rotated["fingerprint"].as_str().expect("a text");
    eventually("the file names it", async || {
        read().trim().ends_with(new.trim_start_matches("sha256:"))
    })
    .await;
    assert_eq!(before.split('.').next(), read().split('.').next());
    assert_eq!(authorities(control.place()), 2);
}

#[cfg(feature = "real-parts")]
#[tokio::test]
async fn another_authority_is_taken_up_by_every_replica_and_by_the_workers_of_each() {
    let etcd = metahub_tests::parts::Etcd::start().await;
    let store = format!("--store={}", etcd.store());
    let here = Control::start_at(Place::fresh().with(&["--tls", &store])).await;
    let there = Control::start_at(here.place().twin().with(&["--tls", &store])).await;
    let (one, two) = (joined(&here, "w1").await, joined(&there, "w2").await);
    let (person, other) = (
        Person::who_knows(&here).await,
        Person::who_knows(&there).await,
    );
    assert_eq!(here.fingerprint(), there.fingerprint());

    let rotated = person.authority(&["rotate"]).await;
    for control in [&here, &there] {
        rooted_in(control.place(), &rotated["fingerprint"]).await;
    }
    // Each replica has to hear of what the other has renewed.
    for person in [&person, &other] {
        person.no_worker_is_behind().await;
    }
    other.authority(&["retire"]).await;
    for control in [&here, &there] {
        eventually("one authority is trusted", async || {
            authorities(control.place()) == 1
        })
        .await;
    }

    person.run(&["user", "create", "qnib"]).await.text();
    here.place().admin().all_current(2).await;
    for (_, host) in [&one, &two] {
        assert_eq!(pinned(host), rotated["fingerprint"]);
    }
}

#[tokio::test]
async fn over_plain_text_there_is_no_authority_to_replace() {
    let control = Control::start().await;
    let person = Person::at(control.place());

    let refused = person.run(&["authority", "rotate"]).await;

    assert!(refused.complaint().contains("--tls"));
}
