//! Indexes that are out to do harm.

use serde_json::json;

use super::{
    nested::{entry, index},
    stage::{IMAGE, INDEX, Stage, put_bytes, sha256},
};

const HOSTILE: &str = "/v2/qnib/app/manifests/hostile";

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
    let mut other_size = good.clone();
    other_size["size"] = json!(2);
    let mut other = entry(IMAGE, &sha256(b"b"), &[]);
    other["platform"]["os"] = json!("plan9");
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
        (
            "two sizes",
            index(&[good.clone(), other_size, other]).to_string(),
        ),
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
