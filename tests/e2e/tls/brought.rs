//! Certificates of one's own.

use metahub_tests::{control::ControlProcess, worker::spawn_bare};
use tempfile::TempDir;

use super::{pki::Pki, *};

/// The flags of a control plane that serves with what is in `dir`, which is
/// written there.
fn flags(dir: &TempDir, pki: &Pki) -> [String; 2] {
    let paths = pki.write("127.0.0.1", dir.path());
    let [certificate, key] = paths.map(|path| path.display().to_string());
    [
        format!("--tls-cert-file={certificate}"),
        format!("--tls-key-file={key}"),
    ]
}

/// A control plane that serves with what is in `dir`.
async fn serving(dir: &TempDir, pki: &Pki) -> Control {
    let flags = flags(dir, pki);
    let control = Control::start_with(&flags.each_ref().map(String::as_str)).await;
    pki.write_authority(&control.place().ca_file());
    control
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_taken_up_and_open_streams_go_on() {
    let (dir, first, second) = (TempDir::new().unwrap(), Pki::new(), Pki::new());
    let control = serving(&dir, &first).await;
    let mut admin = control.place().admin();
    let _worker = Worker::start(control.place()).await;
    let before = root_at(control.place()).await;
    let since = open_since(&mut admin).await;

    second.write("127.0.0.1", dir.path());

    eventually("the new certificate is served", async || {
        root_at(control.place()).await != before
    })
    .await;
    admin.create_user("qnib").await;
    admin.all_current(1).await;
    assert_eq!(open_since(&mut admin).await, since);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_changes_nothing() {
    let (dir, pki) = (TempDir::new().unwrap(), Pki::new());
    let place = Place::fresh().with(&flags(&dir, &pki).each_ref().map(String::as_str));
    pki.write_authority(&place.ca_file());
    let control = ControlProcess::start_at(place).await;
    let before = root_at(control.place()).await;

    std::fs::write(dir.path().join("certificate.pem"), "none").unwrap();

    eventually("it is looked at", async || {
        control.log().contains("the certificate stays as it was")
    })
    .await;
    assert_eq!(root_at(control.place()).await, before);
}

/// A control plane that takes workers' certificates of this PKI, if `names` say
/// so.
async fn taking(dir: &TempDir, pki: &Pki, names: &[&str]) -> Control {
    let authority = dir.path().join("authority.pem");
    pki.write_authority(&authority);
    let own = flags(dir, pki);
    let authority = format!("--tls-client-ca-file={}", authority.display());
    let own = own.iter().chain([&authority]).map(String::as_str);
    let flags: Vec<&str> = own.chain(names.iter().copied()).collect();
    let control = Control::start_with(&flags).await;
    pki.write_authority(&control.place().ca_file());
    control
}

/// The flags of a worker that shows a certificate of this PKI for `name`.
fn shown(control: &Control, pki: &Pki, name: &str, dir: &TempDir) -> Vec<String> {
    let [certificate, key] = pki.write(name, dir.path());
    vec![
        format!("--ca-file={}", control.place().ca_file().display()),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-key-file={}", key.display()),
        format!("--worker-id={name}"),
    ]
}

#[tokio::test]
async fn a_certificate_whose_name_is_not_listed_admits_no_worker() {
    let (dir, pki) = (TempDir::new().unwrap(), Pki::new());
    let control = taking(&dir, &pki, &["--tls-client-name=rack-*.example"]).await;
    let other = TempDir::new().unwrap();
    let flags = shown(&control, &pki, "laptop.example", &other);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let refused = spawn_bare(control.place(), &flags, other.path());
    eventually("it is refused", async || {
        refused.log().contains("wants a worker's certificate")
    })
    .await;

    let own = TempDir::new().unwrap();
    let flags = shown(&control, &pki, "rack-7.example", &own);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _worker = Worker::start_bare(control.place(), &flags).await;

    let workers = control.place().admin().workers().await;
    let ids: Vec<_> = workers.iter().map(|worker| &worker.id).collect();
    assert_eq!(ids, ["rack-7.example"]);
}

#[tokio::test]
async fn a_worker_with_a_certificate_of_the_operators_pki_follows_until_it_is_removed() {
    let (dir, pki) = (TempDir::new().unwrap(), Pki::new());
    let control = taking(&dir, &pki, &[]).await;
    let mut admin = control.place().admin();
    let own = TempDir::new().unwrap();
    let flags = shown(&control, &pki, "rack-7.example", &own);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _worker = Worker::start_bare(control.place(), &flags).await;
    open_since(&mut admin).await;

    admin.remove_worker("rack-7.example").await;

    eventually("its stream ends", async || {
        !admin.workers().await[0].connected
    })
    .await;
}
