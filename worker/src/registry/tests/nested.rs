//! Indexes in indexes.

use http::header;
use serde_json::{Value, json};

use super::stage::{Contents, IMAGE, INDEX, Stage, by, image, put, sha256};
use crate::sync::ledger::Ledger;

const NESTED: &str = "/v2/qnib/app/manifests/nested";

pub(super) fn entry(media_type: &str, digest: &str, features: &[&str]) -> Value {
    json!({"mediaType": media_type, "size": 1, "digest": digest,
           "platform": {"os": "linux", "architecture": "amd64", "features": features}})
}

pub(super) fn index(entries: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

/// An index in an index in an index, with `skylake` at the bottom.
fn nested(contents: &mut Contents) -> String {
    let digest = put(contents, "leaf", IMAGE, &image("leaf"));
    let generic = put(contents, "other", IMAGE, &image("other"));
    let bottom = index(&[entry(IMAGE, &digest, &["cpu:skylake"])]);
    let bottom = put(contents, "bottom", INDEX, &bottom);
    let middle = index(&[entry(INDEX, &bottom, &[]), entry(IMAGE, &generic, &[])]);
    let middle = put(contents, "middle", INDEX, &middle);
    put(
        contents,
        "nested",
        INDEX,
        &index(&[entry(INDEX, &middle, &[])]),
    );
    digest
}

#[tokio::test]
async fn an_image_three_indexes_deep_is_found() {
    let mut leaf = String::new();
    let stage = Stage::with(|contents| leaf = nested(contents)).await;

    let heard = stage.get("skylake", NESTED).await;

    assert_eq!((heard.status, heard.digest()), (200, leaf.as_str()));
}

#[tokio::test]
async fn an_image_of_a_nested_index_is_listed_as_it_is_listed_there() {
    let mut leaf = String::new();
    let mut stage = Stage::with(|contents| leaf = nested(contents)).await;
    let ledger = Ledger::start().await;
    ledger.connect(&stage.link).await;
    let ask = by("skylake", "GET", NESTED).header(header::ACCEPT, INDEX);

    let made = stage.ask(ask).await;

    let index: Value = serde_json::from_slice(&made.body).unwrap();
    let expected = json!([{"mediaType": IMAGE, "size": 1, "digest": leaf,
                           "platform": {"os": "linux", "architecture": "amd64"}}]);
    assert_eq!(index["manifests"], expected);
    stage.replace_worker();
    ledger.connect(&stage.link).await;
    let by_digest = format!("/v2/qnib/app/manifests/{}", made.digest());
    let again = stage.get("broadwell", &by_digest).await;
    assert_eq!((again.status, again.body), (200, made.body));
}

#[tokio::test]
async fn a_refusal_knows_what_is_in_nested_indexes() {
    let stage = Stage::with(|contents| {
        let digest = put(contents, "leaf", IMAGE, &image("leaf"));
        let child = index(&[entry(IMAGE, &digest, &["nvcap:9.0"])]);
        let child = put(contents, "child", INDEX, &child);
        put(
            contents,
            "nested",
            INDEX,
            &index(&[entry(INDEX, &child, &[])]),
        );
    });

    let heard = stage.await.get("skylake", NESTED).await;

    assert_eq!(heard.status, 403);
    assert!(heard.error().1.contains("nvcap:9.0"));
}

#[tokio::test]
async fn a_nested_index_that_is_gone_takes_nothing_with_it() {
    let mut leaf = String::new();
    let stage = Stage::with(|contents| {
        leaf = put(contents, "leaf", IMAGE, &image("leaf"));
        let gone = entry(INDEX, &sha256(b"gone"), &[]);
        put(
            contents,
            "nested",
            INDEX,
            &index(&[gone, entry(IMAGE, &leaf, &[])]),
        );
    });

    let heard = stage.await.get("skylake", NESTED).await;

    assert_eq!((heard.status, heard.digest()), (200, leaf.as_str()));
}

#[tokio::test]
async fn an_index_of_very_many_indexes_is_refused_before_they_are_fetched() {
    let stage = Stage::with(|contents| {
        let nested: Vec<_> = (0..1_000)
            .map(|n| entry(INDEX, &sha256(format!("{n}").as_bytes()), &[]))
            .collect();
        put(contents, "nested", INDEX, &index(&nested));
    })
    .await;

    let heard = stage.get("skylake", NESTED).await;

    let (code, message) = heard.error();
    assert_eq!((heard.status, code.as_str()), (502, "MANIFEST_INVALID"));
    assert!(message.contains("more than 32"), "{message}");
    assert_eq!(stage.asked_for("/v2/"), 1);
}
