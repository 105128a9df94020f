//! Runs the credential helper as a program, with the requests of engines and of
//! the kubelet.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
};

use metahub_host::credential::HostCredential;
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

const HELPER: &str = env!("CARGO_BIN_EXE_docker-credential-metahub");

/// A directory with a host's credential.
fn host() -> TempDir {
    let dir = tempfile::tempdir().expect("there is room");
    let credential = HostCredential {
        schema: 1,
        registry: url("http://127.0.0.1:7480"),
        control: url("http://127.0.0.1:7400"),
        host_id: "node17".into(),
        machine_type: "qnib/type1".into(),
        login: "qnib-type1~node17".into(),
        secret: SecretString::from("hunter2"),
        registry_ca_pem: None,
        control_ca_pem: None,
        control_fingerprint: None,
        features: Vec::new(),
    };
    let written = credential.write(&dir.path().join("host.json"));
    written.expect("there is room");
    dir
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("it is a URL")
}

fn ask(program: &Path, dir: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut helper = Command::new(program)
        .args(arguments)
        .env("METAHUB_HOST_CREDENTIAL", dir.path().join("host.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = helper.stdin.take().expect("stdin is a pipe");
    let sent = stdin.write_all(input.as_bytes());
    sent.expect("it reads");
    drop(stdin);
    helper.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn docker_gets_the_login_for_the_registry_and_the_agreed_words_for_any_other() {
    let dir = host();
    let get = |server: &str| ask(HELPER.as_ref(), &dir, &["get"], server);

    let own = get("127.0.0.1:7480");
    let other = get("https://index.docker.io/v1/");

    assert!(own.status.success());
    let said: Value = serde_json::from_slice(&own.stdout).unwrap();
    let expected = json!({
        "ServerURL": "127.0.0.1:7480",
        "Username": "qnib-type1~node17",
        "Secret": "hunter2",
    });
    assert_eq!(said, expected);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(
        text(&other.stdout),
        "credentials not found in native keychain\n"
    );
}

#[test]
fn under_its_other_name_it_answers_the_kubelet() {
    let dir = host();
    let provider = dir.path().join("metahub-credential-provider");
    symlink(HELPER, &provider).unwrap();
    // The request as the kubelet's exec plugin encodes it.
    let request = concat!(
        r#"{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","#,
        r#""image":"127.0.0.1:7480/qnib/bench:latest"}"#,
        "\n"
    );

    let answer = ask(&provider, &dir, &[], request);
    let wrong = ask(&provider, &dir, &[], "{}");

    assert!(answer.status.success());
    let said: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let login = json!({"username": "qnib-type1~node17", "password": "hunter2"});
    assert_eq!(said["auth"], json!({"127.0.0.1:7480": login}));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("CredentialProviderRequest"));
    assert!(wrong.stdout.is_empty());
}

#[test]
fn without_a_credential_it_says_how_to_make_one() {
    let dir = host();
    fs::remove_file(dir.path().join("host.json")).unwrap();

    let answer = ask(HELPER.as_ref(), &dir, &["get"], "127.0.0.1:7480");

    assert_eq!(answer.status.code(), Some(1));
    let said = text(&answer.stdout);
    assert!(said.contains("metahubctl host login"), "{said}");
    assert!(said.contains("No such file"), "{said}");
}
