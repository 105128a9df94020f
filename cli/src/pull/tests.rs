//! Fetching from a small registry, which knows nothing of MetaHub's headers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    demo::{
        image::{Form, ImageSet, REPOSITORY},
        registry::Registry as Upstream,
    },
    pull::account::Account,
};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn upstream() -> (Upstream, ImageSet) {
    let set = ImageSet::bench(Form::Oci).unwrap();
    let upstream = Upstream::start().await.unwrap();
    upstream.put_images(REPOSITORY, "latest", &set);
    (upstream, set)
}

fn registry(upstream: &Upstream) -> Registry {
    let url = request::url(&upstream.url()).unwrap();
    let host = request::host(&url);
    let account = Account {
        name: "qnib-type1".into(),
        password: "secret".into(),
    };
    Registry {
        origin: Origin::new(url, host, account).unwrap(),
    }
}

async fn fetch(upstream: &Upstream, name: &str) -> anyhow::Result<Content> {
    registry(upstream).content(&name.parse().unwrap()).await
}

/// Puts an index of `children` in, and gives its digest.
fn put_index(upstream: &Upstream, children: &[Value]) -> String {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
    upstream.put_manifest(REPOSITORY, OCI_INDEX, index.to_string())
}

fn descriptor(digest: &str, bytes: &Bytes) -> Value {
    json!({"mediaType": OCI_INDEX, "digest": digest, "size": bytes.len()})
}

#[tokio::test]
async fn a_tag_that_was_not_chosen_from_an_index_is_what_it_is() {
    let (upstream, set) = upstream().await;
    let image = &set.images[1].manifest.digest;
    upstream.tag(REPOSITORY, "one", Some(image));

    let whole = fetch(&upstream, "qnib/bench:one").await.unwrap();
    let index = fetch(&upstream, "qnib/bench").await.unwrap();

    assert!(matches!(&whole, Content::Whole { digest } if digest == image));
    assert!(matches!(&index, Content::Index(source) if source.index.entries.len() == 4));
    assert_eq!(index.digest(), set.index.digest);
}

#[tokio::test]
async fn indexes_in_an_index_are_looked_into_where_they_are_there() {
    let (upstream, set) = upstream().await;
    let inner = put_index(
        &upstream,
        &[descriptor(&set.index.digest, &set.index.bytes)],
    );
    let bytes = upstream.manifest(REPOSITORY, &inner).unwrap();
    let gone = descriptor(&format!("sha256:{:064}", 1), &bytes);
    let outer = put_index(&upstream, &[descriptor(&inner, &bytes), gone]);
    upstream.tag(REPOSITORY, "nested", Some(&outer));

    let content = fetch(&upstream, "qnib/bench:nested").await.unwrap();

    let Content::Index(source) = content else {
        panic!("it is an index");
    };
    assert_eq!(source.digest, outer);
    let entries = source.index.entries.split_last().unwrap().1;
    let digests = entries.iter().map(|entry| &entry.digest);
    let images = set.images.iter().map(|image| &image.manifest.digest);
    assert!(digests.eq(images));
}

#[tokio::test]
async fn a_registry_that_refuses_is_quoted() {
    let (upstream, _) = upstream().await;

    let error = fetch(&upstream, "qnib/bench:gone").await.unwrap_err();

    let text = format!("{error:#}");
    assert!(text.contains("cannot fetch qnib/bench:gone"), "{text}");
    assert!(text.contains("manifest_unknown"), "{text}");
}

#[tokio::test]
async fn a_login_that_is_not_taken_is_named() {
    let (upstream, _) = upstream().await;
    upstream.require_account("qnib-type1", "another");

    let error = fetch(&upstream, "qnib/bench").await.unwrap_err();

    assert!(format!("{error:#}").contains("`qnib-type1`"), "{error:#}");
}
