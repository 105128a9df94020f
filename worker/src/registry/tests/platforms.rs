//! Indexes of several platforms, and those that are of none.

use metahub_policy::Index;
use prometheus_client::{encoding::text, registry::Registry as Counters};
use serde_json::{Value, json};

use super::stage::{Contents, Heard, IMAGE, INDEX, Stage, image, put};
use crate::sync::ledger::Ledger;

const MANY: &str = "/v2/qnib/app/manifests/many";

fn entry(contents: &mut Contents, name: &str, architecture: &str) -> Value {
    let digest = put(contents, name, IMAGE, &image(name));
    let platform = json!({"os": "linux", "architecture": architecture});
    json!({"mediaType": IMAGE, "size": 1, "digest": digest, "platform": platform})
}

fn needs(mut entry: Value, features: &[&str]) -> Value {
    entry["platform"]["features"] = json!(features);
    entry
}

/// A stage with a control plane, whose tag `many` is the index of what `entries`
/// makes. With a Skylake build host and an arm64 type. Gives the digests, too.
async fn stage(entries: impl FnOnce(&mut Contents) -> Vec<Value>) -> (Stage, Ledger, Vec<String>) {
    let mut digests = Vec::new();
    let stage = Stage::with(|contents| {
        let entries = entries(contents);
        let list = entries
            .iter()
            .map(|it| it["digest"].as_str().unwrap().into());
        digests.extend(list);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        put(contents, "many", INDEX, &index);
    });
    let stage = stage.await;
    let builder = r#"{"features":["cpu:skylake"],"platforms":"all"}"#;
    stage.publish(|policy| {
        policy
            .machine_type("builder", builder, "secret")
            .machine_type("arm64", r#"{"architecture":"arm64"}"#, "secret")
    });
    let ledger = Ledger::start().await;
    ledger.connect(&stage.link).await;
    (stage, ledger, digests)
}

fn listed(heard: &Heard) -> Vec<String> {
    let index = Index::parse(&heard.body).expect("an index");
    index.entries.into_iter().map(|it| it.digest).collect()
}

/// The lines of the worker's counters that begin with `name`.
fn counted(stage: &Stage, name: &str) -> Vec<String> {
    let mut counters = Counters::default();
    stage.registry.metrics().register(&mut counters);
    let mut all = String::new();
    text::encode(&mut all, &counters).unwrap();
    let lines = all.lines().filter(|line| line.starts_with(name));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn an_entry_that_is_listed_three_times_counts_once() {
    let (stage, _ledger, digests) = stage(|contents| {
        let amd64 = entry(contents, "amd64", "amd64");
        let arm64 = entry(contents, "arm64", "arm64");
        vec![amd64.clone(), amd64.clone(), amd64, arm64]
    })
    .await;

    assert_eq!(stage.get("skylake", MANY).await.digest(), digests[0]);
    assert_eq!(stage.get("arm64", MANY).await.digest(), digests[3]);
    let both = stage.get("builder", MANY).await;
    assert_eq!(both.digest(), stage.get("builder", MANY).await.digest());
}

#[tokio::test]
async fn entries_that_contradict_each_other_harm_only_the_hosts_they_are_for() {
    let (stage, _ledger, digests) = stage(|contents| {
        let amd64 = entry(contents, "amd64", "amd64");
        let arm64 = entry(contents, "arm64", "arm64");
        let mut other = arm64.clone();
        other["size"] = json!(2);
        vec![amd64, arm64, other]
    })
    .await;

    assert_eq!(stage.get("skylake", MANY).await.digest(), digests[0]);
    let refused = stage.get("arm64", MANY).await;
    assert_eq!(refused.status, 502);
    assert!(refused.error().1.contains("different sizes"));
}

#[tokio::test]
async fn an_index_of_no_images_is_answered_whole() {
    let (stage, _ledger, digests) = stage(|contents| {
        let mut entries = vec![
            entry(contents, "amd64", "amd64"),
            entry(contents, "arm64", "arm64"),
        ];
        for entry in &mut entries {
            entry["artifactType"] = json!("application/vnd.example.plugin");
        }
        entries
    })
    .await;

    for kind in ["skylake", "arm64", "builder"] {
        let heard = stage.get(kind, MANY).await;

        assert_eq!(heard.status, 200);
        assert_eq!(listed(&heard), digests);
    }
}

#[tokio::test]
async fn a_build_host_gets_its_own_variant_and_for_other_platforms_what_runs_everywhere() {
    let (stage, _ledger, digests) = stage(|contents| {
        vec![
            entry(contents, "amd64", "amd64"),
            needs(entry(contents, "skylake-2", "amd64"), &["cpu:skylake"]),
            entry(contents, "arm64", "arm64"),
            needs(entry(contents, "n1", "arm64"), &["cpu:neoverse_n1"]),
        ]
    })
    .await;

    let heard = stage.get("builder", MANY).await;

    assert_eq!(heard.header("content-type"), INDEX);
    assert_eq!(listed(&heard), [digests[1].as_str(), &digests[2]]);
}

#[tokio::test]
async fn an_index_by_digest_is_counted_where_its_tag_would_have_given_something_else() {
    let (stage, _ledger, _) = stage(|contents| vec![entry(contents, "arm64", "arm64")]).await;
    let whole = stage.get("arm64", MANY).await;
    let by_digest = |digest: &str| format!("/v2/qnib/app/manifests/{digest}");
    let count = "indexes_by_digest_total";

    stage.get("arm64", &by_digest(whole.digest())).await;
    stage
        .get("skylake", &by_digest(&stage.images["skylake"]))
        .await;
    let trimmed = stage.get("builder", "/v2/qnib/app/manifests/latest").await;
    stage.get("builder", &by_digest(trimmed.digest())).await;
    assert_eq!(counted(&stage, count), Vec::<String>::new());

    stage.get("skylake", &by_digest(&stage.index)).await;
    stage.get("skylake", &by_digest(&stage.index)).await;
    stage.get("skylake", &by_digest(whole.digest())).await;

    let mut lines = counted(&stage, count);
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"indexes_by_digest_total{by_tag="choice"} 2"#,
            r#"indexes_by_digest_total{by_tag="refusal"} 1"#
        ]
    );
}
