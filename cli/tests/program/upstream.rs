//! What `upstream create` sets, and what it takes away.

use std::fs;

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
