//! What a worker writes down of the secrets that pass through it: nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::RegistryClient,
    control::Control,
    site::policy,
    worker::{Ports, WorkerProcess},
};

const PASSWORD: &str = "password-of-the-upstream";
/// What the upstream's token server gives out for the image.
const SCOPE: &str = "repository:qnib/bench:pull";

#[tokio::test]
async fn no_secret_is_in_a_workers_log_or_metrics() {
    let [basic, token] = [registry().await, registry().await];
    basic.require_account("robot", PASSWORD);
    token.require_token("robot", PASSWORD);
    let control = Control::start().await;
    let mut admin = control.place().admin();
    let (login, _) = policy(&mut admin, &basic.url()).await;
    for (name, registry) in [("basic.test", &basic), ("token.test", &token)] {
        let upstream = Upstream {
            name: name.into(),
            url: registry.url(),
            username: "robot".into(),
            password: PASSWORD.into(),
            ..Default::default()
        };
        admin.put_upstream(upstream).await;
        admin.create_grant(None, &format!("{name}/**")).await;
    }
    let flags = ["--log=trace,h2=info", "--tag-ttl=0s"];
    let worker = WorkerProcess::start_with(control.place(), Ports::free(), 0, &flags).await;
    admin.all_current(1).await;
    let host = RegistryClient::new(worker.addr(), &login);

    for upstream in ["basic.test", "token.test"] {
        let name = format!("{upstream}/{REPOSITORY}");
        host.digest(&name, "latest").await;
        host.manifest(&name, "missing").await;
    }
    for registry in [&basic, &token] {
        registry.fail_with(Some(StatusCode::UNAUTHORIZED));
    }
    host.manifest(&format!("token.test/{REPOSITORY}"), "other")
        .await;
    let metrics = reqwest::get(format!("http://{}/metrics", worker.admin_addr())).await;
    let metrics = metrics.expect("the worker answers").text().await;

    let written = worker.log() + &metrics.expect("metrics are text");
    assert!(written.contains("token.test"), "it logs what it does");
    let pair = |name: &str, secret: &str| STANDARD.encode(format!("{name}:{secret}"));
    for secret in [
        PASSWORD,
        &pair("robot", PASSWORD),
        &STANDARD.encode(SCOPE),
        &login.secret,
        &pair(&login.name, &login.secret),
    ] {
        let leak = written.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}

async fn registry() -> Registry {
    let registry = Registry::start().await.expect("loopback has a free port");
    let set = ImageSet::new(Form::Docker, &[&[]]).expect("memory takes all");
    registry.put_images(REPOSITORY, "latest", &set);
    registry
}
