//! The policy from files, to a file, and back in time.

use std::{fmt::Write as _, fs, path::PathBuf};

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{
    admin::Login,
    client::RegistryClient,
    control::Control,
    ctl::Ctl,
    site::Site,
    worker::{Ports, Worker, WorkerProcess},
};
use serde_json::Value;
use tempfile::TempDir;

const FILE: &str = "
users:
  - name: moby
    password: hunter2
    types:
      - {name: one, features: [cpu:skylake]}
      - {name: two, secret: chosen-by-the-admin}
grants: [{user: moby, repository: 'ghcr.io/acme/*'}]
";

/// A directory with the file.
fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("there is room");
    let path = dir.path().join("policy.yaml");
    fs::write(&path, text).expect("it is written");
    (dir, path)
}

async fn apply(ctl: &Ctl, text: &str, flags: &[&str]) -> Value {
    let (_dir, path) = file(text);
    let path = path.to_str().expect("UTF-8");
    ctl.json(&[&["apply", "-f", path], flags].concat()).await
}

fn new_login(applied: &Value) -> Login {
    let text = |key: &str| {
        applied["new_logins"][0][key]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    Login {
        name: text("name"),
        secret: text("secret"),
    }
}

#[tokio::test]
async fn what_was_applied_is_served_by_all_workers_once_that_is_waited_for() {
    let site = Site::start(2).await;
    let ctl = Ctl::at(site.control.place());

    let applied = apply(&ctl, FILE, &["--wait"]).await;

    let login = new_login(&applied);
    assert_eq!(login.name, "moby-one");
    for worker in &site.workers {
        let client = RegistryClient::new(worker.addr(), &login);
        assert_eq!(client.manifest(REPOSITORY, "latest").await.status(), 200);
    }
}

#[tokio::test]
async fn what_is_waited_for_fails_with_its_result_printed_while_a_worker_is_lost() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    let worker = WorkerProcess::start(control.place(), Ports::free(), 0).await;
    let mut admin = control.place().admin();
    admin.all_current(1).await;
    let (_dir, path) = file(FILE);
    let path = path.to_str().expect("UTF-8");

    // It takes nothing, and the control plane finds out after some seconds.
    worker.pause();
    let waited = ctl
        .run(&["apply", "-f", path, "--wait", "-o", "json"])
        .await;

    assert!(!waited.status.success(), "{waited:?}");
    assert!(waited.stderr.contains("lost, and may serve"), "{waited:?}");
    let applied = serde_json::from_slice(&waited.stdout).expect("it prints JSON");
    assert_eq!(new_login(&applied).name, "moby-one");
    let workers = admin.workers().await;
    assert!(!workers[0].connected, "{workers:?}");
}

#[tokio::test]
async fn an_export_is_a_file_without_a_difference() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    apply(&ctl, FILE, &[]).await;

    let export = ctl.run(&["policy", "export"]).await.text();
    let diff = ctl.run_with_input(&["diff", "-f-", "--prune", "--exit-code"], &export);

    assert_eq!(diff.await.text(), "Nothing to change.\n");
}

#[tokio::test]
async fn a_difference_is_an_exit_code_of_its_own_where_that_is_asked_for() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());

    let plain = ctl.run_with_input(&["diff", "-f-"], FILE).await;
    let asked = ctl
        .run_with_input(&["diff", "-f-", "--exit-code"], FILE)
        .await;

    assert!(plain.text().contains("+ user/moby"), "{plain:?}");
    assert_eq!(asked.status.code(), Some(3));
    assert_eq!(asked.stderr, "");
}

#[tokio::test]
async fn what_only_the_control_plane_finds_is_told_with_file_line_and_column() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    let (_dir, path) =
        file("users:\n  - name: moby\n    types:\n      - {name: a, features: [avx, 'nvcap:x']}\n");
    let path = path.to_str().expect("UTF-8");

    let complaint = ctl.run(&["apply", "-f", path]).await.complaint();

    let start =
        format!("metahubctl: {path}:4:35: users[0].types[0].features[1]: feature `nvcap:x`");
    assert!(complaint.starts_with(&start), "{complaint}");
    let users = ctl.json(&["user", "list"]).await;
    assert_eq!(users, Value::Array(Vec::new()));
}

#[tokio::test]
async fn pruning_deletes_only_once_someone_agrees() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    apply(&ctl, FILE, &[]).await;
    let (_dir, path) = file("users: [{name: other}]");
    let prune = ["apply", "--prune", "-f", path.to_str().expect("UTF-8")];

    let refused = ctl.run(&prune).await.complaint();
    let left = ctl.json(&["user", "list"]).await;
    ctl.run(&[&prune[..], &["--yes"]].concat()).await.text();

    assert!(
        refused.contains("- user/moby") && refused.contains("--yes"),
        "{refused}"
    );
    assert_eq!(left[0]["name"], "moby");
    let left = ctl.json(&["user", "list"]).await;
    assert_eq!(left[0]["name"], "other");
}

#[tokio::test]
async fn a_backup_fills_another_control_plane_and_hosts_notice_nothing() {
    let site = Site::start(0).await;
    let backup = Ctl::at(site.control.place());
    let backup = backup.run(&["export", "--with-secrets"]).await.text();
    let other = Control::start().await;
    let ctl = Ctl::at(other.place());

    let restored = ctl.run_with_input(&["apply", "-f-", "--prune", "--yes"], &backup);

    restored.await.text();
    let worker = Worker::start(other.place()).await;
    let client = RegistryClient::new(worker.addr(), &site.type1);
    assert_eq!(client.manifest(REPOSITORY, "latest").await.status(), 200);
}

#[tokio::test]
async fn a_rollback_restores_what_was_but_no_secret_that_was_revoked() {
    let site = Site::start(1).await;
    let ctl = Ctl::at(site.control.place());
    let history = ctl.json(&["policy", "history"]).await;
    let then = history
        .as_array()
        .and_then(|it| it.last())
        .expect("history")["revision"]
        .to_string();
    let before = ctl.run(&["export"]).await.text();
    ctl.run(&["type", "delete", "type2", "--user=qnib"])
        .await
        .text();
    ctl.run(&[
        "type",
        "update",
        "type1",
        "--user=qnib",
        "--feature=cpu:zen4",
    ])
    .await
    .text();

    let rolled_back = ctl.run(&["policy", "rollback", &then, "--wait"]).await;

    let after = ctl.run(&["export"]).await.text();
    let expected = before.replace(
        "- name: type2\n",
        "- name: type2\n    without_login: true\n",
    );
    assert_eq!(after, expected);
    assert!(
        rolled_back
            .stderr
            .contains("`qnib-type2` does not come back"),
        "{rolled_back:?}"
    );
    let status = async |login| {
        let client = site.client(0, login);
        client
            .manifest(REPOSITORY, "latest")
            .await
            .status()
            .as_u16()
    };
    assert_eq!(status(&site.type1).await, 200);
    assert_eq!(status(&site.type2).await, 401);
    let latest = ctl.json(&["policy", "history", "-n1"]).await;
    assert_eq!(latest[0]["action"], "policy.rollback");
}

#[tokio::test]
async fn over_tls_an_admin_applies_a_viewer_reads_and_an_owner_does_neither() {
    let control = Control::start_with(&["--tls"]).await;
    let place = control.place();
    let _worker = Worker::start(place).await;
    let ca_file = format!("--ca-file={}", place.ca_file().display());
    let (dir, path) = file(FILE);
    let path = path.to_str().expect("UTF-8");
    let admin = Ctl::at(place);
    let token = async |arguments: &str| {
        let arguments = format!("token create {arguments} {ca_file}");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let created = admin.json(&arguments).await;
        let token = dir.path().join(arguments[2]);
        let secret = created["secret"].as_str().expect("a text");
        fs::write(&token, secret).expect("there is room");
        Ctl::at(place).with_token_file(&token)
    };

    let apply = ["apply", "-f", path, "--wait", &ca_file];
    let applied = admin.json(&apply).await;
    let (viewer, owner) = (
        token("eye --role=viewer").await,
        token("team --role=owner --user=moby").await,
    );

    assert_eq!(new_login(&applied).name, "moby-one");
    let revision = applied["revision"].as_str().expect("a text");
    let (_, revision) = revision.split_once('/').expect("an epoch and a number");
    let diff = ["diff", "-f", path, "--exit-code", &ca_file];
    assert_eq!(viewer.run(&diff).await.text(), "Nothing to change.\n");
    let rollback = ["policy", "rollback", revision, "--yes", &ca_file];
    let dry = [&rollback[..], &["--dry-run"]].concat();
    for (who, allowed) in [(&viewer, "viewer"), (&owner, "owner")] {
        for command in [&apply[..], &rollback, &dry] {
            let complaint = who.run(command).await.complaint();
            assert!(
                complaint.contains("not allowed") && complaint.contains(allowed),
                "{complaint}"
            );
        }
    }
    let complaint = owner.run(&diff).await.complaint();
    assert!(complaint.contains("not allowed"), "{complaint}");
    let again = admin.run(&apply).await;
    assert_eq!(again.text(), "Nothing to change.\n");
    let rolled_back = admin.run(&[&rollback[..], &["--wait"]].concat()).await;
    rolled_back.text();
}

#[tokio::test]
async fn a_rollback_deletes_only_once_someone_agrees() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    ctl.run(&["user", "create", "moby"]).await.text();
    let rollback = ["policy", "rollback", "1"];

    let refused = ctl.run(&rollback).await.complaint();
    let left = ctl.json(&["user", "list"]).await;
    ctl.run(&[&rollback[..], &["--yes"]].concat()).await.text();

    assert!(
        refused.contains("- user/moby") && refused.contains("--yes"),
        "{refused}"
    );
    assert_eq!(left[0]["name"], "moby");
    let left = ctl.json(&["user", "list"]).await;
    assert_eq!(left, Value::Array(Vec::new()));
}

#[tokio::test]
async fn what_apply_prune_says_before_is_what_it_does() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    apply(&ctl, FILE, &[]).await;
    let file = "users: [{name: other, types: [{name: one}]}]\nupstreams: []\n";

    let said = apply(&ctl, file, &["--prune", "--dry-run"]).await;
    let done = apply(&ctl, file, &["--prune", "--yes"]).await;

    assert_eq!(said["changes"], done["changes"]);
    assert_eq!(said["changes"].as_array().map(Vec::len), Some(10));
}

#[tokio::test]
async fn ten_thousand_types_with_logins_are_applied_from_one_file() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    let mut text = "users:\n".to_owned();
    for user in 0..100 {
        writeln!(text, "- name: u{user}\n  types:").expect("memory");
        for number in 0..100 {
            writeln!(
                text,
                "  - {{name: t{number}, features: [cpu:broadwell, 'nvcap:5.2']}}"
            )
            .expect("memory");
        }
    }

    let applied = apply(&ctl, &text, &[]).await;
    let (_dir, path) = file(&text);
    let diff = ctl
        .run(&["diff", "-f", path.to_str().expect("UTF-8")])
        .await;

    assert_eq!(applied["new_logins"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(applied["changes"].as_array().map(Vec::len), Some(20_100));
    assert_eq!(diff.text(), "Nothing to change.\n");
}
