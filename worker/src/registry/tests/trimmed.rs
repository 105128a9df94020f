//! Trimmed indexes: what is left of an index for a host that wants one.

use std::sync::Arc;

use http::header;
use serde_json::{Value, json};

use super::stage::{Contents, DEPRECATED, Heard, IMAGE, INDEX, Stage, by, image, put, sha256};
use crate::{
    reference::{Digest, Repository},
    snapshot::{Entries, Recipe, RecipeName, Record},
    sync::ledger::Ledger,
};

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const LATEST: &str = "/v2/qnib/app/manifests/latest";
const BOTH: &str = "/v2/qnib/app/manifests/both";

/// What is left of `latest` for the type `lister`. It must never change.
const GOLDEN: &str = "sha256:b6095f7ca8e1a6b2e4db86654ccbd47b33717c45fd33282163c16fbcea4cad30";

/// A stage with a control plane.
async fn linked() -> (Stage, Ledger) {
    let (stage, ledger) = (alone().await, Ledger::start().await);
    ledger.connect(&stage.link).await;
    (stage, ledger)
}

/// A stage without one. With the types `lister`, a Skylake host that is given
/// indexes, and `any`, a host of no architecture.
async fn alone() -> Stage {
    let stage = Stage::with(more).await;
    publish(&stage, None);
    stage
}

fn publish(stage: &Stage, recipe: Option<Recipe>) {
    let lister = r#"{"features":["cpu:skylake"],"present":"index"}"#;
    stage.publish(|policy| {
        let policy = policy
            .machine_type("lister", lister, "secret")
            .machine_type("any", r#"{"os":"linux"}"#, "secret");
        match recipe {
            Some(recipe) => policy.with("recipe", "1", Record::Recipe(Arc::new(recipe))),
            None => policy,
        }
    });
}

/// The image `both` has two platforms, and `mirror/app` is a copy of
/// `qnib/app`.
fn more(contents: &mut Contents) {
    let platforms = ["amd64", "arm64"];
    let entries = platforms.map(|architecture| {
        let digest = put(contents, architecture, IMAGE, &image(architecture));
        let platform = json!({"os": "linux", "architecture": architecture});
        json!({"mediaType": IMAGE, "size": 1, "digest": digest, "platform": platform})
    });
    let mut gpu = entries[0].clone();
    gpu["digest"] = json!(sha256(b"gpu"));
    gpu["platform"]["features"] = json!(["nvcap:9.0"]);
    let [amd64, arm64] = entries;
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [amd64, gpu, arm64]});
    put(contents, "both", INDEX, &list);
    let copies: Vec<_> = contents
        .iter()
        .map(|(path, content)| (path.replace("/qnib/app/", "/mirror/app/"), content.clone()))
        .collect();
    contents.extend(copies);
}

fn path(digest: &str) -> String {
    format!("/v2/qnib/app/manifests/{digest}")
}

fn entries(heard: &Heard) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&heard.body).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

/// How `made` is made of `latest`.
fn recipe(stage: &Stage, made: &str, last_used: u64) -> Recipe {
    let digest = |text: &str| Digest::parse(text).unwrap();
    Recipe {
        name: RecipeName {
            digest: digest(made),
            upstream: "here.test".into(),
            repository: Repository::parse("qnib/app").unwrap(),
        },
        source_digest: digest(&stage.index),
        kept: Entries::Digests([digest(&stage.images["skylake"])].into()),
        user: "qnib".into(),
        last_used,
    }
}

#[tokio::test]
async fn a_type_that_asks_for_an_index_gets_one_that_lists_only_its_image() {
    let (stage, _ledger) = linked().await;

    let heard = stage.get("lister", LATEST).await;

    assert_eq!(heard.status, 200);
    assert_eq!(heard.header("content-type"), INDEX);
    assert_eq!(heard.header("metahub-source-digest"), stage.index);
    assert_eq!(heard.digest(), sha256(&heard.body));
    assert_eq!(heard.header("etag"), format!("\"{}\"", heard.digest()));
    let entries = entries(&heard);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["digest"], stage.images["skylake"]);
    assert_eq!(entries[0]["platform"].get("features"), None);
}

#[tokio::test]
async fn the_bytes_of_a_trimmed_index_are_the_same_in_every_release() {
    let (stage, _ledger) = linked().await;

    let heard = stage.get("lister", LATEST).await;

    assert_eq!(heard.digest(), GOLDEN);
}

#[tokio::test]
async fn a_head_of_a_trimmed_index_is_a_get_without_its_body() {
    let (stage, _ledger) = linked().await;
    let head = stage.ask(by("lister", "HEAD", LATEST)).await;

    for path in [LATEST, &path(head.digest())] {
        let get = stage.get("lister", path).await;
        let head = stage.ask(by("lister", "HEAD", path)).await;

        assert_eq!((head.status, head.headers), (get.status, get.headers));
        assert_eq!(head.body, "");
    }
}

#[tokio::test]
async fn a_client_that_takes_indexes_only_gets_a_trimmed_one() {
    let (stage, _ledger) = linked().await;
    let ask = by("skylake", "GET", LATEST).header(header::ACCEPT, INDEX);

    let heard = stage.ask(ask).await;

    assert_eq!(heard.header("content-type"), INDEX);
    assert_eq!(entries(&heard)[0]["digest"], stage.images["skylake"]);
    let as_ever = stage.get("skylake", LATEST).await;
    assert_eq!(as_ever.digest(), stage.images["skylake"]);
}

#[tokio::test]
async fn a_client_that_takes_images_only_gets_one_whatever_its_type_says() {
    let (stage, _ledger) = linked().await;
    let ask = by("lister", "GET", LATEST).header(header::ACCEPT, IMAGE);

    let heard = stage.ask(ask).await;

    assert_eq!(heard.digest(), stage.images["skylake"]);
}

#[tokio::test]
async fn a_host_of_no_architecture_gets_the_best_image_of_each() {
    let (stage, _ledger) = linked().await;

    let heard = stage.get("any", BOTH).await;

    let architectures: Vec<_> = entries(&heard)
        .iter()
        .map(|entry| entry["platform"]["architecture"].clone())
        .collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
}

#[tokio::test]
async fn a_trimmed_digest_is_served_by_a_worker_that_was_never_told_of_it() {
    let (mut stage, ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;
    stage.replace_worker();
    ledger.connect(&stage.link).await;

    let heard = stage.get("skylake", &path(made.digest())).await;

    assert_eq!((heard.status, &heard.body), (200, &made.body));
    assert_eq!(heard.digest(), made.digest());
}

#[tokio::test]
async fn a_recipe_that_the_policy_holds_costs_no_question_about_the_digest() {
    let (mut stage, _ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;
    stage.replace_worker();
    let recipe = recipe(&stage, made.digest(), 0);
    publish(&stage, Some(recipe));

    let heard = stage.get("lister", &path(made.digest())).await;

    assert_eq!((heard.status, &heard.body), (200, &made.body));
    assert_eq!(stage.asked_for(made.digest()), 0);
}

#[tokio::test]
async fn a_digest_outlives_the_policy_that_it_was_made_by() {
    let (stage, _ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;

    stage.publish(|policy| policy.machine_type("lister", r#"{"features":["cpu:zen4"]}"#, "secret"));

    let heard = stage.get("lister", &path(made.digest())).await;
    assert_eq!((heard.status, heard.body), (200, made.body));
}

#[tokio::test]
async fn many_who_want_a_new_digest_at_once_record_it_once() {
    let (stage, ledger) = linked().await;

    let asks = (0..50).map(|_| stage.get("lister", LATEST));
    let heard = futures_util::future::join_all(asks).await;
    stage.get("lister", LATEST).await;
    stage.get("lister", &path(heard[0].digest())).await;

    assert!(heard.iter().all(|it| it.header("content-type") == INDEX));
    assert_eq!((ledger.records(), ledger.lookups()), (1, 0));
}

#[tokio::test]
async fn a_digest_that_two_sources_leave_is_made_of_the_newer_one() {
    let list = |other: &str| {
        json!({"schemaVersion": 2, "mediaType": LIST, "manifests": [
            {"mediaType": IMAGE, "size": 1, "digest": sha256(b"mine"),
             "platform": {"os": "linux", "architecture": "amd64", "features": ["cpu:skylake"]}},
            {"mediaType": IMAGE, "size": 1, "digest": sha256(other.as_bytes()),
             "platform": {"os": "linux", "architecture": "amd64"}},
        ]})
    };
    let stage = Stage::with(|contents| {
        put(contents, "old", LIST, &list("old"));
        put(contents, "new", LIST, &list("new"));
    })
    .await;
    publish(&stage, None);
    let ledger = Ledger::start().await;
    ledger.connect(&stage.link).await;

    let old = stage.get("lister", &path("old")).await;
    let new = stage.get("lister", &path("new")).await;

    assert_eq!(old.header("content-type"), LIST);
    assert_eq!(old.digest(), new.digest());
    ledger.recorded(2).await;
}

#[tokio::test]
async fn a_digest_of_one_repository_is_not_served_from_another() {
    let (stage, _ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;
    let elsewhere = format!("/v2/mirror/app/manifests/{}", made.digest());

    assert_eq!(stage.get("lister", &elsewhere).await.status, 404);

    let same = stage.get("lister", "/v2/mirror/app/manifests/latest").await;
    assert_eq!(same.body, made.body);
    assert_eq!(stage.get("lister", &elsewhere).await.status, 200);
}

#[tokio::test]
async fn without_control_plane_a_new_trimmed_index_gives_way_to_its_image() {
    let stage = alone().await;

    let heard = stage.get("lister", LATEST).await;

    assert_eq!(heard.digest(), stage.images["skylake"]);
    let mut warnings = heard.headers.get_all("warning").iter();
    let last = warnings.next_back().unwrap().to_str().unwrap();
    assert!(
        last.starts_with("299 - ") && last.contains("stands in"),
        "{last}"
    );
}

#[tokio::test]
async fn a_control_plane_that_does_not_answer_holds_up_one_request_and_not_the_next() {
    let (stage, ledger) = linked().await;
    stage.get("skylake", LATEST).await;
    ledger.fall_silent();
    tokio::time::pause();

    for waits in [true, false] {
        let began = tokio::time::Instant::now();
        let heard = stage.get("lister", LATEST).await;

        assert_eq!(heard.digest(), stage.images["skylake"]);
        assert_eq!(began.elapsed().as_secs() >= 2, waits);
    }
}

#[tokio::test]
async fn without_control_plane_two_images_give_way_to_the_source_index() {
    let stage = alone().await;

    let heard = stage.get("any", BOTH).await;

    assert_eq!((heard.status, entries(&heard).len()), (200, 3));
}

#[tokio::test]
async fn what_stood_in_is_forgotten_once_the_control_plane_is_back() {
    let stage = alone().await;
    stage.get("lister", LATEST).await;
    let ledger = Ledger::start().await;

    ledger.connect(&stage.link).await;

    let heard = stage.get("lister", LATEST).await;
    assert_eq!(heard.header("content-type"), INDEX);
    let warnings: Vec<_> = heard.headers.get_all("warning").iter().collect();
    assert_eq!(warnings, [DEPRECATED]);
}

#[tokio::test]
async fn without_control_plane_known_digests_are_served() {
    let (stage, _ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;

    Ledger::disconnect(&stage.link);

    for path in [LATEST, &path(made.digest())] {
        let heard = stage.get("lister", path).await;
        assert_eq!((heard.status, &heard.body), (200, &made.body), "{path}");
    }
}

#[tokio::test]
async fn without_control_plane_nobody_says_that_an_unknown_digest_is_not_there() {
    let stage = alone().await;

    let heard = stage.get("lister", &path(&sha256(b"unknown"))).await;

    assert_eq!((heard.status, heard.header("retry-after")), (503, "5"));
}

#[tokio::test]
async fn an_unknown_digest_is_looked_up_once_in_a_while() {
    let (stage, ledger) = linked().await;
    let unknown = path(&sha256(b"unknown"));

    for _ in 0..10 {
        assert_eq!(stage.get("lister", &unknown).await.status, 404);
    }

    assert_eq!(ledger.lookups(), 1);
}

#[tokio::test]
async fn a_recipe_that_leads_elsewhere_is_an_error_and_is_not_remembered() {
    let (mut stage, ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;
    ledger.forge(|recipe| recipe.kept_places = vec![1]);
    stage.replace_worker();
    ledger.connect(&stage.link).await;

    for _ in 0..2 {
        let heard = stage.get("lister", &path(made.digest())).await;
        assert_eq!(
            (heard.status, heard.error().0.as_str()),
            (502, "DIGEST_INVALID")
        );
    }
}

#[tokio::test]
async fn a_recipe_in_use_is_recorded_again_after_a_day_and_not_before() {
    let (mut stage, ledger) = linked().await;
    let made = stage.get("lister", LATEST).await;
    for (age, times) in [(60 * 60, 0), (25 * 60 * 60, 1)] {
        stage.replace_worker();
        let link = Ledger::start().await;
        link.connect(&stage.link).await;
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let recipe = recipe(&stage, made.digest(), now - age);
        publish(&stage, Some(recipe));

        for _ in 0..3 {
            stage.get("lister", &path(made.digest())).await;
        }

        link.recorded(times).await;
    }
    drop(ledger);
}

#[tokio::test]
async fn what_refers_to_the_source_refers_to_what_is_left_of_it() {
    let (mut stage, ledger) = {
        let stage = Stage::with(|contents| {
            more(contents);
            let source = latest(contents);
            let list = json!({"schemaVersion": 2, "mediaType": INDEX,
                              "manifests": [{"digest": sha256(b"signature")}]});
            let list = list.to_string().into_bytes().into();
            contents.insert(format!("/v2/qnib/app/referrers/{source}"), (INDEX, list));
        });
        (stage.await, Ledger::start().await)
    };
    publish(&stage, None);
    ledger.connect(&stage.link).await;
    let made = stage.get("lister", LATEST).await;
    let referrers = format!("/v2/qnib/app/referrers/{}", made.digest());

    for worker in ["the one that made it", "another"] {
        let heard = stage.get("lister", &referrers).await;

        assert_eq!(
            entries(&heard)[0]["digest"],
            sha256(b"signature"),
            "{worker}"
        );
        stage.replace_worker();
        ledger.connect(&stage.link).await;
    }
}

/// The digest that the tag `latest` means.
fn latest(contents: &Contents) -> String {
    sha256(&contents[LATEST].1)
}
