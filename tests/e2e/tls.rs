//! TLS between the control plane, workers and metahubctl.

mod authority;
mod brought;
mod joining;
mod pki;
mod trust;

use metahub_proto::policy::v1 as policy;
use metahub_tests::{
    admin::Admin,
    control::{Control, Place},
    tap::Tap,
    wait::eventually,
    worker::Worker,
};
use metahub_worker::trust::{Trust, look};
use tonic::transport::Endpoint;

const PASSWORD: &str = "the-password-of-an-upstream";

/// A control plane with TLS.
async fn secure() -> Control {
    Control::start_with(&["--tls"]).await
}

async fn put_upstream_with_a_password(admin: &mut Admin) {
    admin
        .put_upstream(policy::Upstream {
            name: "registry.example".into(),
            url: "https://registry.example".into(),
            username: "robot".into(),
            password: PASSWORD.into(),
            ..policy::Upstream::default()
        })
        .await;
}

/// Since when the one worker's stream is open.
async fn open_since(admin: &mut Admin) -> u64 {
    let workers = admin.workers().await;
    assert!(workers.len() == 1 && workers[0].connected, "{workers:?}");
    workers[0].since_unix_secs
}

/// The fingerprint of what the certificate at this place is rooted in now.
async fn root_at(place: &Place) -> String {
    let endpoint = Endpoint::from_shared(place.url()).expect("a URL");
    look(endpoint).await.expect("it serves TLS").to_string()
}

#[tokio::test]
async fn an_upstreams_password_goes_to_workers_and_no_one_in_between_reads_it() {
    let control = secure().await;
    let tap = Tap::before(control.place().addr()).await;
    let seen = control.place().seen_at(tap.addr());
    let mut admin = seen.admin();

    put_upstream_with_a_password(&mut admin).await;
    let _worker = Worker::start(&seen).await;
    admin.all_current(1).await;

    assert!(tap.passed() > 1_000, "the proxy was not passed");
    assert!(!tap.has_seen(PASSWORD) && !tap.has_seen("registry.example"));
}

#[tokio::test]
async fn in_plain_text_one_in_between_reads_it() {
    let control = Control::start().await;
    let tap = Tap::before(control.place().addr()).await;
    let seen = control.place().seen_at(tap.addr());
    let mut admin = seen.admin();

    put_upstream_with_a_password(&mut admin).await;
    let _worker = Worker::start(&seen).await;
    admin.all_current(1).await;

    assert!(tap.has_seen(PASSWORD));
}

#[tokio::test]
async fn the_authority_is_made_at_the_first_start_and_kept() {
    let control = secure().await;
    let first = control.fingerprint().to_owned();

    let control = Control::start_at(control.stop().await).await;

    assert_eq!(control.fingerprint(), first);
    assert_eq!(root_at(control.place()).await, first);
}

#[tokio::test]
async fn two_control_planes_have_two_authorities() {
    let (one, other) = (secure().await, secure().await);

    assert_ne!(one.fingerprint(), other.fingerprint());
}

#[tokio::test]
async fn a_certificate_is_not_good_for_a_name_that_it_was_not_made_for() {
    let (control, tap_addr) = (secure().await, std::net::Ipv4Addr::new(127, 0, 0, 2));
    let trust = Trust::read(&control.place().ca_file()).expect("there is an authority");
    let tap = Tap::before_at(tap_addr, control.place().addr()).await;
    let endpoint = Endpoint::from_shared(format!("https://{}", tap.addr())).expect("a URL");
    let endpoint = trust.secure(endpoint, None).expect("it can be trusted");

    let refused = endpoint.connect().await.expect_err("the name is wrong");

    let refused = format!("{refused:?}");
    assert!(refused.contains("NotValidForName"), "{refused}");
}
