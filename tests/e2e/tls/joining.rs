//! Workers that join, and how long they stay.

use std::{
    fs,
    path::{Path, PathBuf},
};

use metahub_proto::policy::v1::{
    Hello, WorkerMessage, policy_service_client::PolicyServiceClient,
    worker_message::Message as Said,
};
use metahub_tests::{metahubctl::Metahubctl, process::Process, worker::spawn_bare};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Identity};

use super::*;

/// What stays of a worker when it is started again.
struct Host {
    dir: TempDir,
    flags: Vec<String>,
}

impl Host {
    /// One for the worker `id`, with a join token.
    fn new(id: &str, token: &str) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let flags = vec![
            format!("--worker-id={id}"),
            format!("--join-token-file={}/token", dir.path().display()),
            format!("--state-dir={}/state", dir.path().display()),
        ];
        let host = Self { dir, flags };
        host.put_token(token);
        host
    }

    fn put_token(&self, token: &str) {
        fs::write(self.dir.path().join("token"), token).expect("it can be written");
    }

    fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    async fn worker(&self, control: &Place) -> Worker {
        Worker::start_bare(control, &self.flags()).await
    }

    fn process(&self, control: &Place) -> Process {
        spawn_bare(control, &self.flags(), self.dir.path())
    }

    fn state_file(&self) -> PathBuf {
        self.dir.path().join("state/identity.json")
    }

    fn state(&self) -> serde_json::Value {
        let text = fs::read(self.state_file()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

async fn says(process: &Process, what: &str) {
    eventually(&format!("the worker says `{what}`"), async || {
        process.log().contains(what)
    })
    .await;
}

/// Opens a stream as the worker `id` with what is in `state`.
async fn follow(control: &Place, state: &serde_json::Value, id: &str) -> Result<(), Status> {
    let text = |key: &str| state[key].as_str().expect("it is there").to_owned();
    let identity = Identity::from_pem(text("certificate_pem"), text("key_pem"));
    let trust = Trust::read(&control.ca_file()).expect("there is an authority");
    let endpoint = Endpoint::from_shared(control.url()).expect("a URL");
    let endpoint = trust.secure(endpoint, Some(identity)).expect("it is used");
    let channel = endpoint.connect_lazy();
    let hello = Said::Hello(Hello {
        worker_id: id.into(),
        ..Hello::default()
    });
    let hello = WorkerMessage {
        message: Some(hello),
    };
    let said = tokio_stream::once(hello);
    let stream = PolicyServiceClient::new(channel).follow(said).await?;
    stream.into_inner().message().await.map(|_| ())
}

#[tokio::test]
async fn a_join_token_for_one_worker_admits_one() {
    let control = secure().await;
    let mut admin = control.place().admin();
    let token = admin.create_join_token("one", 1).await;
    let (first, second) = (Host::new("w1", &token), Host::new("w2", &token));

    let _worker = first.worker(control.place()).await;
    let refused = second.process(control.place());

    says(&refused, "the join token `one` is used up").await;
    says(&refused, "metahubctl worker token create").await;
    open_since(&mut admin).await;
}

#[tokio::test]
async fn one_that_follows_by_the_worker_token_is_not_removed_alone_and_it_is_said_why() {
    let control = secure().await;
    let _worker = Worker::start_with(control.place(), &["--worker-id=w1"]).await;
    let mut admin = control.place().admin();
    admin.all_current(1).await;
    let metahubctl = Metahubctl::new(&control.place().url());
    let token = fs::read_to_string(control.place().admin_token_file()).expect("a token");
    let ca_file = format!("--ca-file={}", control.place().ca_file().display());
    let remove = async |id| {
        let arguments = ["worker", "remove", id, &ca_file];
        metahubctl.run_with(&token, &arguments).await
    };

    let (there, nowhere) = (remove("w1").await, remove("w2").await);

    let complaint = there.complaint();
    for part in ["worker token", "worker token create", "`worker-token`"] {
        assert!(complaint.contains(part), "no {part}: {complaint}");
    }
    assert!(
        nowhere.complaint().contains("there is no worker `w2`"),
        "{}",
        nowhere.complaint()
    );
    open_since(&mut admin).await;
}

#[tokio::test]
async fn a_revoked_join_token_admits_no_one() {
    let control = secure().await;
    let mut admin = control.place().admin();
    let token = admin.create_join_token("one", 0).await;
    admin.revoke_join_token("one").await;

    let host = Host::new("w1", &token);
    let refused = host.process(control.place());

    says(&refused, "was revoked").await;
    assert!(admin.workers().await.is_empty());
}

#[tokio::test]
async fn a_join_token_of_another_control_plane_is_not_even_shown() {
    let (control, other) = (secure().await, secure().await);
    let token = other.place().admin().create_join_token("one", 1).await;

    let host = Host::new("w1", &token);
    let refused = host.process(control.place());

    says(&refused, other.fingerprint()).await;
    assert!(control.place().admin().workers().await.is_empty());
}

#[tokio::test]
async fn a_worker_that_is_started_again_needs_no_join_token() {
    let control = secure().await;
    let mut admin = control.place().admin();
    let mut host = Host::new("w1", &admin.create_join_token("one", 1).await);
    host.worker(control.place()).await.stop().await;
    fs::remove_file(host.dir.path().join("token")).expect("it was there");
    host.flags.retain(|flag| !flag.contains("token"));

    let _worker = host.worker(control.place()).await;

    admin.all_current(1).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_and_the_stream_goes_on() {
    let control = Control::start_with(&["--tls", "--worker-certificate-lifetime=6s"]).await;
    let mut admin = control.place().admin();
    let host = Host::new("w1", &admin.create_join_token("one", 1).await);
    let _worker = host.worker(control.place()).await;
    let since = open_since(&mut admin).await;
    let first = host.state();

    // For longer than its first certificate was good for.
    let certificate = |state: &serde_json::Value| state["certificate_pem"].clone();
    let mut seen = vec![certificate(&first)];
    eventually("it is renewed twice", async || {
        let newest = certificate(&host.state());
        if !newest.is_null() && !seen.contains(&newest) {
            seen.push(newest);
        }
        seen.len() > 2
    })
    .await;

    admin.create_user("qnib").await;
    admin.all_current(1).await;
    assert_eq!(open_since(&mut admin).await, since);
    let control = Control::start_at(control.stop().await).await;
    control.place().admin().all_current(1).await;
}

#[tokio::test]
async fn a_worker_whose_certificate_has_expired_serves_on_and_says_what_to_do() {
    let lifetime = ["--tls", "--worker-certificate-lifetime=5s"];
    let control = Control::start_with(&lifetime).await;
    let mut admin = control.place().admin();
    let host = Host::new("w1", &admin.create_join_token("one", 1).await);
    let mut worker = host.process(control.place());
    admin.all_current(1).await;

    let place = control.stop().await;
    let obtained = host.state()["obtained_unix_secs"].as_u64();
    let end = obtained.expect("it has joined") + 6;
    eventually("the certificate has expired", async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap_or_default().as_secs() > end
    })
    .await;
    let control = Control::start_at(place).await;

    says(&worker, "put a new join token").await;
    assert!(worker.is_running());
    let token = control.place().admin().create_join_token("two", 1).await;
    host.put_token(&token);
    control.place().admin().all_current(1).await;
}

#[tokio::test]
async fn a_certificate_is_for_the_worker_that_it_was_given_to_and_for_its_control_plane() {
    let (control, other) = (secure().await, secure().await);
    let mut admin = control.place().admin();
    let host = Host::new("w1", &admin.create_join_token("one", 1).await);
    host.worker(control.place()).await.stop().await;
    let state = host.state();

    follow(control.place(), &state, "w1")
        .await
        .expect("its own");
    let another_name = follow(control.place(), &state, "w2").await.unwrap_err();
    let another_place = follow(other.place(), &state, "w1").await.unwrap_err();

    assert_eq!(another_name.code(), Code::PermissionDenied);
    assert_ne!(another_place.code(), Code::PermissionDenied);
    assert!(other.place().admin().workers().await.is_empty());
}

#[tokio::test]
async fn a_removed_worker_loses_its_stream_and_does_not_come_back_by_itself() {
    let control = secure().await;
    let mut admin = control.place().admin();
    let host = Host::new("w1", &admin.create_join_token("one", 2).await);
    let worker = host.process(control.place());
    admin.all_current(1).await;

    admin.remove_worker("w1").await;

    eventually("its stream ends", async || {
        !admin.workers().await[0].connected
    })
    .await;
    says(&worker, "was removed").await;
    let state = host.state();
    let refused = follow(control.place(), &state, "w1").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn workers_without_a_state_directory_share_a_join_token_in_a_file() {
    let dir = TempDir::new().expect("a temporary directory");
    let file = dir.path().join("join-token");
    let flag = format!("--join-token-file={}", file.display());
    let control = Control::start_with(&["--tls", &flag]).await;
    let mut admin = control.place().admin();

    let mut workers = Vec::new();
    for id in ["--worker-id=w1", "--worker-id=w2"] {
        workers.push(Worker::start_bare(control.place(), &[&flag, id]).await);
    }

    admin.all_current(2).await;
    assert!(is_private(&file));
}

fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(file)
        .expect("it is there")
        .permissions()
        .mode();
    mode & 0o077 == 0
}
