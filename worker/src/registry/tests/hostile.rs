//! Indexes that are out to do harm, and those that are nested.

use serde_json::{Value, json};

use super::stage::{Contents, IMAGE, INDEX, Stage, image, put, put_bytes, sha256};

const HOSTILE: &str = "/v2/qnib/app/manifests/hostile";

fn entry(media_type: &str, digest: &str, features: &[&str]) -> Value {
    json!({"mediaType": media_type, "size": 1, "digest": digest,
           "platform": {"os": "linux", "architecture": "amd64", "features": features}})
}

fn index(entries: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

/// What a Skylake host hears about an index with these bytes.
async fn told_of(bytes: Vec<u8>) -> (u16, String, String) {
    let stage = Stage::with(|contents| {
        put_bytes(contents, "hostile", INDEX, bytes);
    });
    let heard = stage.await.get("skylake", HOSTILE).await;
    let (code, message) = heard.error();
    (heard.status, code, message)
}

#[tokio::test]
async fn an_index_that_is_out_to_do_harm_is_refused_with_a_reason() {
    let good = entry(IMAGE, &sha256(b"a"), &[]);
    let mut huge = good.clone();
    huge["annotations"] = json!({"a": "a".repeat(5 << 20)});
    let mut twice = good.to_string();
    twice.insert_str(1, r#""digest":"sha256:0","#);
    let deep = format!(
        r#"{{"manifests":[],"x":{}{}}}"#,
        "[".repeat(90_000),
        "]".repeat(90_000)
    );
    let million = format!(r#"{{"manifests":[{}{{}}]}}"#, "{},".repeat(1_000_000));
    let long = format!(
        r#"{{"{0}":1,"{0}":2,"manifests":[]}}"#,
        "k".repeat(1_000_000)
    );
    for (what, bytes) in [
        ("ambiguous", r#"{"manifests":[],"layers":[]}"#.to_owned()),
        ("no JSON", "{".to_owned()),
        ("huge annotations", index(&[huge]).to_string()),
        ("too deep", deep),
        ("a million entries", million),
        ("a key twice", format!(r#"{{"manifests":[{twice}]}}"#)),
        ("a digest twice", index(&[good.clone(), good]).to_string()),
        ("a long key twice", long),
        (
            "a digest that is none",
            index(&[entry(IMAGE, "sha256:../..", &[])]).to_string(),
        ),
    ] {
        let (status, code, message) = told_of(bytes.into_bytes()).await;

        assert_eq!(status, 502, "{what}: {message}");
        let codes = ["MANIFEST_INVALID", "SIZE_INVALID"];
        assert!(codes.contains(&code.as_str()), "{what}: {code}");
        assert!(message.len() < 600, "{what}: {} bytes", message.len());
    }
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
        "hostile",
        INDEX,
        &index(&[entry(INDEX, &middle, &[])]),
    );
    digest
}

#[tokio::test]
async fn an_image_three_indexes_deep_is_found() {
    let mut leaf = String::new();
    let stage = Stage::with(|contents| leaf = nested(contents)).await;

    let heard = stage.get("skylake", HOSTILE).await;

    assert_eq!((heard.status, heard.digest()), (200, leaf.as_str()));
}

#[tokio::test]
async fn a_refusal_knows_what_is_in_nested_indexes() {
    let stage = Stage::with(|contents| {
        let digest = put(contents, "leaf", IMAGE, &image("leaf"));
        let child = index(&[entry(IMAGE, &digest, &["nvcap:9.0"])]);
        let child = put(contents, "child", INDEX, &child);
        put(
            contents,
            "hostile",
            INDEX,
            &index(&[entry(INDEX, &child, &[])]),
        );
    });

    let heard = stage.await.get("skylake", HOSTILE).await;

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
            "hostile",
            INDEX,
            &index(&[gone, entry(IMAGE, &leaf, &[])]),
        );
    });

    let heard = stage.await.get("skylake", HOSTILE).await;

    assert_eq!((heard.status, heard.digest()), (200, leaf.as_str()));
}

#[tokio::test]
async fn an_index_of_very_many_indexes_is_refused_before_they_are_fetched() {
    let stage = Stage::with(|contents| {
        let nested: Vec<_> = (0..1_000)
            .map(|n| entry(INDEX, &sha256(format!("{n}").as_bytes()), &[]))
            .collect();
        put(contents, "hostile", INDEX, &index(&nested));
    })
    .await;

    let heard = stage.get("skylake", HOSTILE).await;

    let (code, message) = heard.error();
    assert_eq!((heard.status, code.as_str()), (502, "MANIFEST_INVALID"));
    assert!(message.contains("more than 32"), "{message}");
    assert_eq!(stage.asked_for("/v2/"), 1);
}
