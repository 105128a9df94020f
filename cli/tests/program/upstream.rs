//! What `upstream create` sets, and what it takes away.

use std::fs;

use rcgen::generate_simple_self_signed;
use serde_json::Value;

use crate::{
    process::{printed, told},
    site::Site,
};

const CREATE: [&str; 4] = ["upstream", "create", "ghcr.io", "--url=https://ghcr.io"];

/// The upstream `ghcr.io`, as it is listed.
fn listed(site: &Site) -> Value {
    let all = site.json(&["upstream", "list"]);
    let mut all = all.as_array().expect("upstreams are listed").iter();
    let found = all.find(|it| it["name"] == "ghcr.io");
    found.expect("it is listed").clone()
}

/// A site that pulls from `ghcr.io` with an account.
async fn site() -> Site {
    let site = Site::start().await;
    fs::write(site.home.path().join("password"), "hunter2").expect("there is room");
    let account = ["--username=robot", "--credential-file=password"];
    printed(&site.run(&[&CREATE[..], &account].concat()));
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_given_up_only_where_that_is_said() {
    let site = site().await;

    let refused = site.run(&CREATE);

    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("--anonymous"), "{}", told(&refused));
    assert_eq!(listed(&site)["username"], "robot");
    printed(&site.run(&[&CREATE[..], &["--anonymous"]].concat()));
    assert_eq!(listed(&site)["username"], "");
    printed(&site.run(&CREATE));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_pulled_from_anonymously_or_with_an_account() {
    let site = site().await;

    let both = [
        "--username=robot",
        "--password-file=password",
        "--anonymous",
    ];
    let refused = site.run(&[&CREATE[..], &both].concat());

    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_speaks_http1_alone_for_as_long_as_that_is_said() {
    let site = Site::start().await;

    printed(&site.run(&[&CREATE[..], &["--http1"]].concat()));
    let said = listed(&site)["http1"].clone();
    printed(&site.run(&CREATE));

    assert_eq!(
        (said, listed(&site)["http1"].clone()),
        (true.into(), false.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_another_upstream_is_refused_and_named() {
    let site = site().await;
    let hosts = ["--anonymous", "--host=a.test", "--host=b.test:7480"];
    printed(&site.run(&[&CREATE[..], &hosts].concat()));

    let quay = ["upstream", "create", "quay.io", "--url=https://quay.io"];
    let refused = site.run(&[&quay[..], &["--host=a.test"]].concat());

    assert_eq!(refused.status.code(), Some(1));
    let told = told(&refused);
    assert!(
        told.contains("a.test") && told.contains("ghcr.io"),
        "{told}"
    );
    let hosts = serde_json::json!(["a.test", "b.test:7480"]);
    assert_eq!(listed(&site)["hosts"], hosts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_many_lines_reaches_the_upstream_byte_for_byte() {
    let site = Site::start().await;
    let key = "{\n  \"private_key\": \"-----BEGIN KEY-----\\nAAAA\\n\"\n}\n";
    fs::write(site.home.path().join("key.json"), format!("{key}\n")).expect("there is room");
    let account = ["--username=_json_key", "--password-file=key.json"];

    printed(&site.run(&[&CREATE[..], &account].concat()));

    let export = site.json(&["export", "--with-secrets"]);
    let upstreams = export["upstreams"].as_array().expect("there are some");
    assert!(upstreams.iter().any(|it| it["password"] == key), "{export}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_upstream_is_listed_but_for_its_secrets() {
    let site = Site::start().await;
    let client = generate_simple_self_signed(["worker".to_owned()]).expect("a certificate");
    for (file, text) in [
        ("proxy-password", "hunter3"),
        ("client.pem", &client.cert.pem()),
        ("client.key", &client.signing_key.serialize_pem()),
    ] {
        fs::write(site.home.path().join(file), text).expect("there is room");
    }
    let options = [
        "--url=https://second.ghcr.io/v2/",
        "--proxy=http://robot@proxy.test:3128",
        "--proxy-password-file=proxy-password",
        "--repository-prefix=hub",
        "--token-host=Token.test:5001",
        "--client-cert=client.pem",
        "--client-key=client.key",
    ];

    let created = site.run(&[&CREATE[..], &options].concat());

    printed(&created);
    assert!(told(&created).contains("/v2"), "{}", told(&created));
    let listed = listed(&site);
    assert_eq!(listed["fallback_urls"][0], "https://second.ghcr.io");
    assert_eq!(listed["proxy"], "http://robot@proxy.test:3128");
    assert_eq!(listed["repository_prefix"], "hub");
    assert_eq!(listed["token_hosts"][0], "token.test:5001");
    assert_eq!(listed["client_cert_pem"], client.cert.pem());
    let exported = site.json(&["export"]);
    for shown in [listed, exported] {
        let shown = shown.to_string();
        assert!(!shown.contains("hunter3") && !shown.contains("PRIVATE KEY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_no_registrys_address_is_refused_with_what_to_write() {
    let site = Site::start().await;
    let below = format!("{}/v2/hub", site.upstream.url());
    for (url, advice) in [
        ("ghcr.io", "https://ghcr.io"),
        ("localhost:5000", "https://localhost:5000"),
        ("https://robot:hunter2@ghcr.io", "username and password"),
        ("https://ghcr.io/?x=y", "query"),
        (&below, "--repository-prefix hub"),
    ] {
        let refused = site.run(&["upstream", "create", "ghcr.io", "--url", url]);

        let told = told(&refused);
        assert_eq!(refused.status.code(), Some(1), "{url}: {told}");
        assert!(told.contains(advice), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_taken_where_a_registry_may_be_below_it() {
    let site = Site::start().await;
    let url = "--url=http://127.0.0.1:1/api/docker/hub";

    let created = site.run(&["upstream", "create", "ghcr.io", url]);

    printed(&created);
    let told = told(&created);
    assert!(
        told.contains("--repository-prefix api/docker/hub"),
        "{told}"
    );
    assert_eq!(listed(&site)["url"], "http://127.0.0.1:1/api/docker/hub");
}
