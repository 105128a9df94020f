//! `metahubctl doctor` on a healthy host, and on a host with one fault at a
//! time: its line names the fault and the remedy.

#[cfg(feature = "real-parts")]
mod docker;
mod engines;
mod registry;
mod stage;

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use self::stage::{IMAGE, Stage};

#[tokio::test]
async fn a_host_that_is_well_has_no_other_line_than_ok() {
    let stage = Stage::start().await;

    let said = stage.doctor(&["--image", IMAGE]).await;

    let lines = said.lines();
    assert_eq!(said.code(), 0, "{lines:#?}");
    assert!(
        lines.iter().all(|it| it.starts_with("ok    ")),
        "{lines:#?}"
    );
    for check in [
        "credential",
        "tcp",
        "tls",
        "clock",
        "challenge",
        "login",
        "policy",
        "type",
        "image",
        "node",
        "containerd",
    ] {
        let start = format!("ok    {check}: ");
        let line = lines.iter().find(|it| it.starts_with(&start));
        assert!(line.is_some(), "no {check}: {lines:#?}");
    }
}

#[tokio::test]
async fn programs_get_the_same_lines_as_json_with_the_worst_status() {
    let stage = Stage::start().await;
    fs::create_dir_all(stage.path("etc/containerd/certs.d/ghcr.io")).unwrap();
    let hosts = stage.path("etc/containerd/certs.d/docker.io/hosts.toml");
    let text = fs::read_to_string(&hosts).unwrap();
    fs::write(&hosts, text + "# by hand\n").unwrap();

    let said = stage.doctor(&["-o", "json"]).await;

    let told: Value = serde_json::from_slice(&said.outcome.stdout).unwrap();
    assert_eq!(said.code(), 3, "{told:#}");
    assert_eq!(
        (&told["schema"], &told["status"]),
        (&1.into(), &"warn".into())
    );
    let findings = told["findings"].as_array().unwrap();
    let worst = findings.iter().find(|it| it["status"] == "warn").unwrap();
    assert_eq!(worst["check"], "containerd");
    assert!(worst["what"].as_str().unwrap().contains("changed by hand"));
    assert!(worst["next"].is_string());
    assert!(
        findings
            .iter()
            .any(|it| it["status"] == "ok" && it.get("next").is_none())
    );
}

#[tokio::test]
async fn a_host_that_has_not_joined_is_told_to() {
    let stage = Stage::start().await;
    fs::remove_file(stage.credential_file()).unwrap();

    let said = stage.doctor(&[]).await;

    said.fails(
        "credential",
        "this host has not joined",
        "metahubctl host login",
    );
    assert!(!said.has("login"), "{:#?}", said.lines());
}

#[tokio::test]
async fn a_secret_that_others_can_read_fails() {
    let stage = Stage::start().await;
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(stage.credential_file(), mode).unwrap();

    let said = stage.doctor(&[]).await;

    said.fails("credential", "its mode is 0644", "chmod 600");
}

#[tokio::test]
async fn a_credential_that_is_none_is_named_and_not_quoted() {
    let stage = Stage::start().await;
    let text = fs::read_to_string(stage.credential_file()).unwrap();
    let broken = text.replace("\"schema\": 1", "\"schema\": \"hunter2-secret\"");
    assert_ne!(broken, text);
    fs::write(stage.credential_file(), broken).unwrap();

    let said = stage.doctor(&[]).await;

    said.fails(
        "credential",
        "is no credential of a host: line",
        "metahubctl host login",
    );
    assert!(!said.all().contains("hunter2"), "{}", said.all());
}

#[tokio::test]
async fn a_login_that_was_removed_is_named() {
    let mut stage = Stage::start().await;
    let login = stage.login.name.clone();
    stage.site.admin.delete_login(&login).await;
    stage.site.admin.all_current(2).await;

    let said = stage.doctor(&[]).await;

    said.fails(
        "login",
        &format!("does not accept {login}"),
        "metahubctl host login",
    );
    said.fails("node", "cannot pull", "metahub-node");
}

#[tokio::test]
async fn a_wrong_secret_is_named_and_not_shown() {
    let stage = Stage::start().await;
    stage.change(|credential| credential.secret = "hunter2-secret".into());

    let said = stage.doctor(&[]).await;

    said.fails(
        "login",
        "its secret is another one now",
        "metahubctl host login",
    );
    assert!(!said.all().contains("hunter2"), "{}", said.all());
}

#[tokio::test]
async fn no_line_shows_the_secret() {
    let stage = Stage::start().await;

    let table = stage.doctor(&["--image", IMAGE]).await.all();
    let json = stage.doctor(&["-o", "json"]).await.all();

    let secret = &stage.login.secret;
    assert!(secret.len() > 8 && !table.contains(secret) && !json.contains(secret));
}

#[tokio::test]
async fn a_type_that_promises_more_than_the_host_has_is_told_feature_by_feature() {
    let mut stage = Stage::start().await;
    let mut features = stage.features.clone();
    features.push("nvdrv:550".into());
    features.push("nvcap:9.0".into());
    stage.become_type("gpu", &features).await;

    let said = stage.doctor(&[]).await;

    said.fails(
        "type",
        "no driver, the type says 550",
        "metahubctl host report",
    );
    said.fails(
        "type",
        "no compute capability, the type says 9.0",
        "metahubctl host report",
    );
}

#[tokio::test]
async fn a_type_that_says_less_than_the_host_has_is_no_fault() {
    let mut stage = Stage::start().await;
    stage.become_type("plain", &[]).await;

    let said = stage.doctor(&[]).await;

    assert_eq!(said.code(), 0, "{:#?}", said.lines());
}

#[tokio::test]
async fn a_feature_that_was_given_at_the_login_counts_as_the_hosts() {
    let mut stage = Stage::start().await;
    stage.become_type("racked", &["rack:7".into()]).await;
    let without = stage.doctor(&[]).await;
    stage.change(|credential| credential.features.push("rack:7".into()));

    let with = stage.doctor(&[]).await;

    without.fails("type", "no rack, the type says 7", "metahubctl host report");
    assert_eq!(with.code(), 0, "{:#?}", with.lines());
}

#[tokio::test]
async fn a_credential_of_another_type_than_the_workers_serve_is_named() {
    let stage = Stage::start().await;
    stage.change(|credential| credential.machine_type = "qnib/other".into());

    let said = stage.doctor(&[]).await;

    said.line(
        "warn",
        "type",
        "its credential says qnib-other",
        "metahubctl host report",
    );
}

#[tokio::test]
async fn an_image_of_which_nothing_fits_is_named_in_the_workers_words() {
    let stage = Stage::start().await;
    stage.site.put_variant("qnib/gpu", &["nvcap:9.0"]);

    let said = stage.doctor(&["--image", "qnib/gpu"]).await;

    said.fails(
        "image",
        "this host gets nothing of qnib/gpu:latest",
        "image explain qnib/gpu",
    );
}

#[tokio::test]
async fn workers_that_disagree_on_a_tag_are_found_by_two_connections() {
    let stage = Stage::without_node().await;
    stage.site.put_variant("qnib/app", &[]);
    // One worker caches the tag, the other does not.
    stage.resolve_at_worker(0, "qnib/app").await;
    let cpu = stage.features.iter().find(|it| it.starts_with("cpu:"));
    stage.site.put_variant("qnib/app", &[cpu.unwrap()]);

    let said = stage.doctor(&["--image", "qnib/app"]).await;

    said.fails(
        "image",
        "the workers disagree on qnib/app:latest",
        "metahubctl worker list",
    );
}

#[tokio::test]
async fn a_name_with_the_digest_of_an_index_warns_that_nothing_is_selected() {
    let stage = Stage::start().await;
    let index = &stage.site.bench.index.digest;

    let pinned = format!("qnib/bench:latest@{index}");
    let said = stage.doctor(&["--image", &pinned]).await;

    said.warns("digest", "is an index", "metahubctl image resolve");
}

#[tokio::test]
async fn a_name_with_the_digest_of_another_types_image_says_whose_it_is() {
    let stage = Stage::start().await;
    let own = stage.resolve_at_worker(0, "qnib/bench").await;
    let images = stage.site.bench.images.iter();
    let mut others = images.filter(|it| it.variant != "generic" && it.manifest.digest != own);
    let other = others.next().unwrap();

    let pinned = format!("qnib/bench:latest@{}", other.manifest.digest);
    let said = stage.doctor(&["--image", &pinned]).await;

    let feature = other.variant.split(',').next().unwrap();
    let what = format!("another variant ({feature}");
    said.warns("digest", &what, "metahubctl image resolve");
}

#[tokio::test]
async fn a_name_with_the_digest_that_the_tag_gives_is_no_fault() {
    let stage = Stage::start().await;
    let digest = stage.resolve_at_worker(0, "qnib/bench").await;

    let said = stage
        .doctor(&["--image", &format!("qnib/bench:latest@{digest}")])
        .await;

    assert_eq!(said.code(), 0, "{:#?}", said.lines());
    assert!(said.all().contains("is what the tag gives this host"));
}

#[tokio::test]
async fn a_node_proxy_that_is_down_fails_where_an_engine_pulls_through_it() {
    let stage = Stage::without_node().await;

    let said = stage.doctor(&[]).await;

    said.fails(
        "node",
        "does not answer",
        "systemctl enable --now metahub-node",
    );
}

#[tokio::test]
async fn a_node_proxy_that_pulls_as_another_host_is_named() {
    let stage = Stage::start().await;
    let other = stage.site.type1.clone();
    stage.log_node_in(&other);

    let said = stage.doctor(&[]).await;

    said.fails(
        "node",
        "pulls as a host of qnib-type1",
        "METAHUB_HOST_CREDENTIAL",
    );
}

#[tokio::test]
async fn another_program_at_the_port_of_the_node_proxy_is_named() {
    let stage = Stage::without_node().await;
    let other = stage::web_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0").await;
    stage.configure_containerd(other).await;

    let said = stage.doctor_at(other, &[]).await;

    said.fails("node", "another program than metahub-node", "ss -tlnp");
}
