//! The audit: every change is a record, and no secret is in any.

use std::fs;

use metahub_proto::{admin::v1 as pb, policy::v1 as policy};
use metahub_tests::{
    control::{Control, ControlProcess, Place},
    ctl::{Ctl, follow_audit},
    port::free_addr,
    wait::eventually,
};
use serde_json::Value;

/// The records that metahubctl prints.
async fn records(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    let text = ctl.run(args).await.text();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[tokio::test]
async fn a_change_is_a_record_of_who_did_what_from_where() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    admin.create_user("qnib").await;
    admin.create_type("qnib", "type1", &["cpu:broadwell"]).await;
    let ctl = Ctl::at(control.place());

    let records = records(&ctl, &["audit", "tail", "-n", "1", "-o", "json"]).await;

    let keys: Vec<_> = records.iter().map(|it| &it["key"]).collect();
    assert_eq!(keys, ["type/qnib/type1", "login/qnib-type1"]);
    assert_eq!(records[0]["action"], "type.create");
    assert_eq!(records[0]["from"], "127.0.0.1");
    assert_eq!(records[0]["before"], Value::Null);
    assert_eq!(records[0]["after"]["spec"]["features"][0], "cpu:broadwell");
    assert_eq!(records[1]["after"]["secret_sha256"], "***");
    assert_eq!(records[0]["revision"], records[1]["revision"]);
}

#[tokio::test]
async fn what_was_refused_leaves_no_record() {
    let control = Control::start().await;
    let ctl = Ctl::at(control.place());
    ctl.run(&["user", "create", "qnib"]).await.text();
    let before = records(&ctl, &["audit", "export"]).await;

    ctl.run(&["user", "create", "qnib"]).await.complaint();

    assert_eq!(records(&ctl, &["audit", "export"]).await, before);
}

#[tokio::test]
async fn an_export_holds_every_change_from_the_first_on_across_restarts() {
    let control = Control::start().await;
    control.place().admin().create_user("one").await;
    let control = Control::start_at(control.stop().await).await;
    control.place().admin().create_user("two").await;

    let records = records(&Ctl::at(control.place()), &["audit", "export"]).await;

    let actions: Vec<_> = records.iter().map(|it| it["action"].as_str()).collect();
    assert_eq!(actions.first(), Some(&Some("upstream.seed")));
    let users = records.iter().filter(|it| it["action"] == "user.create");
    let keys: Vec<_> = users.map(|it| &it["key"]).collect();
    assert_eq!(keys, ["user/one", "user/two"]);
    assert!(records.is_sorted_by_key(|it| it["revision"].as_u64()));
}

#[tokio::test]
async fn a_follower_is_told_of_a_change_that_is_made_later() {
    let control = Control::start().await;
    let mut admin = control.place().admin();
    admin.create_user("before").await;
    let follower = follow_audit(control.place());
    eventually("the follower has what was before", async || {
        follower.log().contains("user/before")
    })
    .await;

    admin.create_user("after").await;

    eventually("the follower is told of it", async || {
        follower.log().contains("user/after")
    })
    .await;
}

#[tokio::test]
async fn a_follower_outlives_a_restart_of_the_control_plane_and_misses_nothing() {
    let control = Control::start().await;
    let follower = follow_audit(control.place());
    eventually("the follower has what was before", async || {
        follower.log().contains("upstream.seed")
    })
    .await;

    let control = Control::start_at(control.stop().await).await;
    let mut admin = control.place().admin();
    admin.create_user("qnib").await;
    admin.create_type("qnib", "type1", &[]).await;

    eventually("the follower is told of it", async || {
        follower.log().contains("login/qnib-type1")
    })
    .await;
    let log = follower.log();
    for line in log.lines() {
        let times = log.lines().filter(|it| *it == line).count();
        assert_eq!(times, 1, "{line}\n{log}");
    }
    assert!(log.contains("user/qnib"), "{log}");
}

/// Everything that is to be shown to no one, once all of it was used.
async fn use_secrets(place: &Place) -> Vec<String> {
    let mut admin = place.admin();
    let user = pb::CreateUserRequest {
        name: "qnib".into(),
        password: "password-of-a-user".into(),
    };
    admin.client().create_user(user).await.expect("a user");
    let first = admin.create_type("qnib", "type1", &[]).await;
    let rotate = pb::RotateLoginRequest {
        name: first.name.clone(),
    };
    let rotated = admin.client().rotate_login(rotate).await;
    let rotated = rotated.expect("a new secret").into_inner().login;
    for password in ["password-of-an-upstream", "its-next-password"] {
        admin
            .put_upstream(policy::Upstream {
                name: "ghcr.io".into(),
                url: "https://ghcr.io".into(),
                username: "robot".into(),
                password: password.into(),
                ..Default::default()
            })
            .await;
    }
    let token = pb::CreateTokenRequest {
        name: "ci".into(),
        role: pb::Role::Viewer.into(),
        ..Default::default()
    };
    let token = admin.access().create_token(token).await;
    let ctl = Ctl::at(place);
    let applied = ctl
        .run_with_input(&["apply", "-f-", "-o=json"], DECLARED)
        .await;
    let applied: Value = serde_json::from_str(&applied.text()).expect("JSON");
    let mut secrets: Vec<String> = DECLARED_SECRETS.map(str::to_owned).into();
    secrets.extend([
        "password-of-a-user".into(),
        "password-of-an-upstream".into(),
        "its-next-password".into(),
        first.secret,
        rotated.expect("a login").secret,
        token.expect("a token").into_inner().secret,
        applied["new_logins"][0]["secret"]
            .as_str()
            .expect("a secret")
            .to_owned(),
    ]);
    secrets.extend(hashes(&ctl).await);
    secrets
}

/// What a backup holds that nothing else may.
async fn hashes(ctl: &Ctl) -> Vec<String> {
    let backup = ctl.json(&["export", "--with-secrets"]).await;
    let users = backup["users"].as_array().expect("users");
    let types = users
        .iter()
        .flat_map(|it| it["types"].as_array().into_iter().flatten());
    let hashes: Vec<_> = types
        .map(|it| &it["secret_sha256"])
        .chain(users.iter().map(|it| &it["password_hash"]))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    assert_eq!(hashes.len(), 5, "{backup}");
    hashes
}

const DECLARED: &str = "
users:
  - name: moby
    password: declared-password
    types: [{name: a}, {name: b, secret: declared-secret}]
upstreams:
  - {name: quay.io, url: 'https://quay.io', username: robot, password: declared-upstream}
";
const DECLARED_SECRETS: [&str; 3] = ["declared-password", "declared-secret", "declared-upstream"];

#[tokio::test]
async fn no_secret_is_in_the_audit_a_list_an_export_or_the_log() {
    let place = Place::at(free_addr());
    let control = ControlProcess::start_with(place, &["--log=trace,h2=info"]).await;
    let ctl = Ctl::at(control.place());

    let secrets = use_secrets(control.place()).await;

    let log = control.place().dir().join("metahub-control.log");
    let mut shown = vec![fs::read_to_string(log).expect("a log")];
    for args in [
        &["audit", "export"][..],
        &["audit", "tail"],
        &["policy", "history"],
        &["export"],
        &["policy", "rollback", "2", "--dry-run", "-o=json"],
        &["user", "list", "-o=json"],
        &["type", "list", "-o=json"],
        &["login", "list", "-o=json"],
        &["upstream", "list", "-o=json"],
        &["worker", "list", "-o=json"],
        &["status", "-o=json"],
    ] {
        shown.push(ctl.run(args).await.text());
    }
    let diff = ctl.run_with_input(&["diff", "-f-", "--prune", "-o=json"], DECLARED);
    shown.push(diff.await.text());
    assert_eq!(secrets.len(), 15);
    for secret in secrets {
        let leaks: Vec<_> = shown.iter().filter(|text| text.contains(&secret)).collect();
        assert!(leaks.is_empty(), "`{secret}` is shown in {leaks:?}");
    }
}
