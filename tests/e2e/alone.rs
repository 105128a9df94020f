//! Workers without their control plane: a policy kept in a file, and one that
//! is too old.

use std::fs;

use http::header::WARNING;
use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::{RegistryClient, error},
    control::{Control, Place},
    site::Site,
    wait::eventually,
    worker::{Worker, readiness},
};
use tempfile::TempDir;

const CLOSED: &str = "closed.test/acme/app";

/// The flags of a worker that keeps its policy in `dir`.
fn keeping(dir: &TempDir) -> [String; 2] {
    let path = |name| dir.path().join(name).display().to_string();
    [
        format!("--snapshot-file={}", path("snapshot")),
        format!("--snapshot-key-file={}", path("key")),
    ]
}

async fn start(control: &Place, dir: &TempDir) -> Worker {
    let flags = keeping(dir);
    Worker::start_with(control, &flags.each_ref().map(String::as_str)).await
}

/// An upstream that is open to `qnib` alone, with `acme/app`.
async fn add_restricted_upstream(site: &mut Site) -> Registry {
    let closed = Registry::start().await.expect("the upstream binds");
    let set = ImageSet::new(Form::Oci, &[&[]]).expect("memory takes all");
    closed.put_images("acme/app", "latest", &set);
    let upstream = Upstream {
        name: "closed.test".into(),
        url: closed.url(),
        restricted: true,
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin
        .create_grant(Some("qnib"), "closed.test/acme/*")
        .await;
    closed
}

#[tokio::test]
async fn a_worker_with_a_kept_policy_starts_without_the_control_plane() {
    let (site, dir) = (Site::start(0).await, TempDir::new().unwrap());
    start(site.control.place(), &dir).await.stop().await;
    let (type1, place) = (site.type1, site.control.stop().await);

    let worker = start(&place, &dir).await;

    let host = RegistryClient::new(worker.addr(), &type1);
    let answer = host.manifest(REPOSITORY, "latest").await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_change_is_kept_too() {
    let (mut site, dir) = (Site::start(0).await, TempDir::new().unwrap());
    let worker = start(site.control.place(), &dir).await;
    site.admin.delete_login(&site.type1.name).await;
    site.admin.all_current(1).await;
    worker.stop().await;
    let (type1, type2) = (site.type1, site.type2);
    let place = site.control.stop().await;

    let worker = start(&place, &dir).await;

    for (login, expected) in [(type1, 401), (type2, 200)] {
        let host = RegistryClient::new(worker.addr(), &login);
        let answer = host.manifest(REPOSITORY, "latest").await;
        assert_eq!(answer.status(), expected, "{}", login.name);
    }
}

#[tokio::test]
async fn a_kept_policy_that_is_damaged_is_replaced_by_the_control_planes() {
    let (site, dir) = (Site::start(0).await, TempDir::new().unwrap());
    let file = dir.path().join("snapshot");
    fs::write(&file, "metahub snapshot 1\nnonsense").unwrap();

    let worker = start(site.control.place(), &dir).await;

    let host = RegistryClient::new(worker.addr(), &site.type1);
    assert_eq!(host.manifest(REPOSITORY, "latest").await.status(), 200);
    worker.stop().await;
    assert!(fs::metadata(&file).unwrap().len() > 100);
}

#[tokio::test]
async fn a_policy_that_is_too_old_closes_what_is_restricted_and_nothing_else() {
    let mut site = Site::start_with(1, Form::Docker, &["--max-policy-age=1s"]).await;
    let _closed = add_restricted_upstream(&mut site).await;
    site.admin.all_current(1).await;
    let host = site.host();
    let place = site.control.stop().await;
    let admin = site.workers[0].admin_addr();

    eventually("/readyz says what is closed", async || {
        let said = readiness(admin).await.unwrap_or_default();
        said.starts_with("ready with policy") && said.contains("restricted is closed")
    })
    .await;
    let refused = host.manifest(CLOSED, "latest").await;
    let open = host.manifest(REPOSITORY, "latest").await;

    assert_eq!(refused.status(), 403);
    assert_eq!(open.status(), 200);
    let warning = open.headers()[WARNING].to_str().unwrap().to_owned();
    assert!(warning.contains("--max-policy-age"), "{warning}");
    let (code, message) = error(refused).await;
    assert_eq!(code, "DENIED");
    assert!(
        message.contains("restricted repositories are closed"),
        "{message}"
    );

    let _control = Control::start_at(place).await;
    eventually("it is open again", async || {
        host.manifest(CLOSED, "latest").await.status() == 200
    })
    .await;
}
