//! What a declaration promises.

mod apply;
mod identity;
mod rollback;

use super::*;
use crate::{
    catalog::{Actor, Catalog},
    policy::Policy,
    records::{Key, Login, MachineType, Record, Upstream, User},
};

const FILE: &str = "
users:
  - name: qnib
    password: hunter2
    types:
      - name: type1
        secret: first
        features: [cpu:broadwell]
      - name: type2
        secret_sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
        features: [cpu:skylake]
        allow_selectors: true
upstreams:
  - name: localhost:5000
    url: http://localhost:5000
    default: true
rules:
  - name: almalinux-v3
    repository: almalinux/*
    match: {architecture: amd64}
    requires: [cpu:x86_64_v3]
pins:
  - user: qnib
    type: type1
    repository: qnib/bench
    digest: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
grants:
  - user: qnib
    repository: localhost:5000/qnib/*
  - all_users: true
    repository: localhost:5000/open/**
";

fn parse(text: &str) -> Declaration {
    serde_saphyr::from_str(text).unwrap()
}

fn admin() -> Actor {
    Actor::on_its_own("admin")
}

/// A catalog that the file was applied to.
async fn with_file() -> Catalog {
    let catalog = Catalog::in_memory().await;
    catalog.apply(parse(FILE)).await.unwrap();
    catalog
}

/// What a declaration may state, by key.
fn declared(policy: &Policy) -> Vec<Record> {
    let records = DECLARED.into_iter().flat_map(|kind| policy.of_kind(kind));
    records.map(|(_, record)| (**record).clone()).collect()
}

async fn refusal(text: &str) -> String {
    let catalog = Catalog::in_memory().await;
    let before = catalog.revision();
    let refused = catalog.apply(parse(text)).await.unwrap_err();
    assert_eq!(catalog.revision(), before, "nothing may change");
    refused.to_string()
}

#[tokio::test]
async fn a_file_becomes_the_policy_in_one_commit() {
    let catalog = Catalog::in_memory().await;
    let before = catalog.revision();

    let revision = catalog.apply(parse(FILE)).await.unwrap();

    assert_eq!(revision.number, before.number + 1);
    let policy = catalog.policy();
    assert_eq!(policy.count(Kind::Login), 2);
    assert_eq!(policy.count(Kind::Rule), 1);
    assert_eq!(policy.count(Kind::Pin), 1);
    assert_eq!(policy.count(Kind::Grant), 2);
    let upstreams: Vec<&str> = policy.all::<Upstream>().map(|it| &*it.name).collect();
    assert_eq!(upstreams, ["localhost:5000"]);
}

#[tokio::test]
async fn an_equal_file_makes_no_revision_although_passwords_are_salted() {
    let catalog = Catalog::in_memory().await;
    let first = catalog.apply(parse(FILE)).await.unwrap();

    let second = catalog.apply(parse(FILE)).await.unwrap();

    assert_eq!(second, first);
}

#[tokio::test]
async fn what_a_later_file_leaves_out_is_gone() {
    let catalog = Catalog::in_memory().await;
    catalog.apply(parse(FILE)).await.unwrap();

    let shorter = "users: [{name: moby}]";
    catalog.apply(parse(shorter)).await.unwrap();

    let policy = catalog.policy();
    assert_eq!(policy.count(Kind::Login), 0);
    assert_eq!(policy.count(Kind::Pin), 0);
    assert_eq!(policy.count(Kind::Grant), 0);
    assert!(policy.find::<User>(&Key::user("moby")).is_some());
    let upstreams: Vec<&str> = policy.all::<Upstream>().map(|it| &*it.name).collect();
    assert_eq!(upstreams, ["docker.io"]);
}

#[tokio::test]
async fn an_error_names_the_field_and_changes_nothing() {
    let refused = refusal("users: [{name: qnib, types: [{name: a}]}]").await;
    assert!(
        refused.starts_with("users[0].types[0].secret: "),
        "{refused}"
    );

    let refused = refusal("users: [{name: a}, {name: a-b}]").await;
    assert!(refused.starts_with("users[1].name: "), "{refused}");

    let refused = refusal("users: [{name: a}, {name: a}]").await;
    assert!(refused.starts_with("users[1].name: "), "{refused}");

    let refused = refusal("upstreams: [{name: ghcr.io, url: ghcr.io}]").await;
    assert!(refused.starts_with("upstreams[0].url: "), "{refused}");
}

#[tokio::test]
async fn two_defaults_are_refused() {
    let refused = refusal(
        "upstreams:
           - {name: ghcr.io, url: 'https://ghcr.io', default: true}
           - {name: quay.io, url: 'https://quay.io', default: true}",
    )
    .await;

    assert!(refused.starts_with("upstreams[1].default: "), "{refused}");
}

#[tokio::test]
async fn a_pin_for_a_type_that_the_file_lacks_is_refused() {
    let refused = refusal(
        "pins: [{user: a, type: b, repository: c, digest: 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'}]",
    )
    .await;

    assert!(refused.starts_with("pins[0].type: "), "{refused}");
}

#[tokio::test]
async fn a_grant_says_whom_it_is_for_and_which_upstream() {
    for (grant, field) in [
        ("{repository: ghcr.io/a}", "user"),
        ("{user: moby, repository: ghcr.io/a}", "user"),
        ("{user: a, all_users: true, repository: ghcr.io/a}", "user"),
        ("{user: a, repository: acme/a}", "repository"),
    ] {
        let refused = refusal(&format!("{{users: [{{name: a}}], grants: [{grant}]}}")).await;

        let place = format!("grants[0].{field}: ");
        assert!(refused.starts_with(&place), "{refused}");
    }
}

#[test]
fn a_field_that_no_one_knows_is_refused() {
    for text in [
        "user: []",
        "users: [{name: a, typos: []}]",
        "users: [{name: a, types: [{name: b, secret: s, featurs: []}]}]",
    ] {
        assert!(
            serde_saphyr::from_str::<Declaration>(text).is_err(),
            "{text}"
        );
    }
}
