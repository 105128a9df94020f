//! Both planes in one process, administered by a second one.

use std::fs;

use tempfile::{TempDir, tempdir};

use crate::process::{Running, metahubctl, printed, run, told};

const UP: [&str; 4] = [
    "up",
    "--grpc-addr=127.0.0.1:0",
    "--registry-addr=127.0.0.1:0",
    "--admin-addr=127.0.0.1:0",
];

fn up(home: &TempDir, further: &[&str]) -> (Running, String, String) {
    let mut running = Running::start(home, &[&UP, further].concat());
    let registry = running.value("registry");
    let control = running.value("admin API");
    (running, registry, control)
}

#[test]
fn a_second_terminal_needs_no_settings_but_the_address() {
    let home = tempdir().unwrap();
    let (running, registry, control) = up(&home, &[]);
    let admin = |arguments: &[&str]| {
        let mut command = metahubctl(&home, arguments);
        command.env("METAHUB_CONTROL", &control).output().unwrap()
    };

    let early = admin(&[
        "type",
        "create",
        "type1",
        "--user=qnib",
        "--feature=cpu:broadwell",
    ]);
    assert_eq!(early.status.code(), Some(1));
    assert!(
        told(&early).contains("metahubctl user create qnib"),
        "{}",
        told(&early)
    );

    printed(&admin(&["user", "create", "qnib"]));
    let created = admin(&[
        "type",
        "create",
        "type1",
        "--wait",
        "--user=qnib",
        "--feature=cpu:broadwel",
    ]);

    let text = printed(&created);
    let line = format!("docker login --username qnib-type1 --password-stdin {registry}");
    assert!(text.contains(&line), "{text}");
    assert!(told(&created).contains("broadwell"), "{}", told(&created));
    let workers = printed(&admin(&["worker", "list", "-o", "json"]));
    assert!(workers.contains("\"connected\": true"), "{workers}");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_type_survives_a_restart() {
    let home = tempdir().unwrap();
    let (running, _, control) = up(&home, &[]);
    let flag = format!("--control={control}");
    printed(&run(&home, &[&flag, "user", "create", "qnib"]));
    printed(&run(
        &home,
        &[&flag, "type", "create", "type1", "--user=qnib"],
    ));
    assert_eq!(running.terminate(), Some(0));

    let (_running, _, control) = up(&home, &[]);

    let flag = format!("--control={control}");
    let types = printed(&run(&home, &[&flag, "type", "list", "-o", "yaml"]));
    assert!(types.contains("type1"), "{types}");
}

#[test]
fn where_there_is_no_tls_no_authority_is_shown_and_the_way_to_one_is() {
    let home = tempdir().unwrap();
    let (_running, _, control) = up(&home, &[]);

    let flag = format!("--control={control}");
    let shown = run(&home, &[&flag, "authority", "show"]);

    assert_eq!(shown.status.code(), Some(1));
    for part in ["serves no TLS", "has no authority", "--tls"] {
        assert!(told(&shown).contains(part), "{}", told(&shown));
    }
}

#[test]
fn the_static_mode_serves_what_the_file_says() {
    let home = tempdir().unwrap();
    let policy = "
users:
  - name: qnib
    types:
      - name: type1
        secret: not-so-secret-not-so-secret
        features: [cpu:broadwell]
";
    fs::write(home.path().join("types.yaml"), policy).unwrap();

    let (_running, _, control) = up(&home, &["--config=types.yaml"]);

    let flag = format!("--control={control}");
    let logins = printed(&run(&home, &[&flag, "login", "list"]));
    assert!(logins.contains("qnib-type1"), "{logins}");
}

#[test]
fn a_static_file_that_cannot_be_used_is_refused_at_start() {
    let home = tempdir().unwrap();
    fs::write(home.path().join("types.yaml"), "usres: []").unwrap();

    let output = run(&home, &[&UP[..], &["--config=types.yaml"]].concat());

    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("usres"), "{}", told(&output));
}
