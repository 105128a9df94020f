//! Content that its upstream names by SHA-512, from the index to the layer.

use metahub_cli::demo::image::Form;
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::{error, header},
    hostile::{HostileHost, Said},
    site::Site,
    wait::eventually,
};
use serde_json::json;

const APP: &str = "long.test/app";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_TEXT: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;
const IMAGE_DIGEST: &str = "sha512:a18b2cb763483d514d6579ed2012193688f21471ee5f02e39357ecba87755cf2\
    3a7e4ad030137f494987deabfa7eedfa8235c13a52c7a381b1b94c34babdbccf";
/// Of an image that nobody here is given.
const OTHER_DIGEST: &str = LAYER_DIGEST;
const LAYER_TEXT: &str = "layer";
const LAYER_DIGEST: &str = "sha512:b030eade3c76066e854afde060a58d562e103878b92ba17586070c1373c0c31f\
    8c80389eeabbc1370284d983fb066f2c1cee3ad22fd5c580223a13efc5e31832";

fn index() -> String {
    let entry = |architecture: &str, digest: &str| {
        json!({
            "mediaType": IMAGE,
            "size": IMAGE_TEXT.len(),
            "digest": digest,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let entries = [entry("arm64", OTHER_DIGEST), entry("amd64", IMAGE_DIGEST)];
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
}

/// A site with an upstream that has all that, and an honest tag.
async fn site(flags: &[&str]) -> (Site, HostileHost) {
    let mut site = Site::start_with(1, Form::Docker, flags).await;
    let upstream = HostileHost::start(1).await;
    upstream.says(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path.ends_with("/manifests/latest") {
            Said::ok(INDEX, index())
        } else if path.ends_with(&format!("/manifests/{IMAGE_DIGEST}")) {
            Said::ok(IMAGE, IMAGE_TEXT)
        } else if path.ends_with(&format!("/blobs/{LAYER_DIGEST}")) {
            Said::ok("application/octet-stream", LAYER_TEXT)
        } else {
            Said::status("404 Not Found")
        }
    });
    let long = Upstream {
        name: "long.test".into(),
        url: upstream.url(),
        ..Default::default()
    };
    site.admin.put_upstream(long).await;
    site.admin.all_current(1).await;
    (site, upstream)
}

#[tokio::test]
async fn an_image_is_chosen_and_served_by_its_long_digest() {
    let (site, _upstream) = site(&[]).await;

    for reference in ["latest", IMAGE_DIGEST] {
        let answer = site.host().manifest(APP, reference).await;

        assert_eq!(answer.status(), 200, "{reference}");
        assert_eq!(header(&answer, "docker-content-digest"), IMAGE_DIGEST);
        assert_eq!(header(&answer, "etag"), format!("\"{IMAGE_DIGEST}\""));
        assert_eq!(answer.text().await.unwrap(), IMAGE_TEXT);
    }
}

#[tokio::test]
async fn a_trimmed_index_lists_long_digests() {
    let (mut site, _upstream) = site(&[]).await;
    let lister = site
        .admin
        .create_lister("qnib", "lister", &["cpu:broadwell"])
        .await;
    site.admin.all_current(1).await;
    let host = site.client(0, &lister);

    let digest = host.digest(APP, "latest").await;

    let listed = host.manifest(APP, &digest).await.text().await.unwrap();
    assert!(listed.contains(IMAGE_DIGEST), "{listed}");
    assert!(!listed.contains(OTHER_DIGEST), "{listed}");
}

#[tokio::test]
async fn what_is_not_its_long_digest_is_refused() {
    let (site, upstream) = site(&[]).await;
    upstream.says(|_| Said::ok(IMAGE, r#"{"config":{}}"#));

    let wrong = site.host().manifest(APP, IMAGE_DIGEST).await;

    assert_eq!(wrong.status(), 502);
    assert_eq!(error(wrong).await.0, "DIGEST_INVALID");
}

#[tokio::test]
async fn a_layer_is_kept_and_served_by_its_long_digest() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flag = format!("--blob-cache={}", directory.path().display());
    let (site, upstream) = site(&[&flag]).await;
    let path = format!("/v2/{APP}/blobs/{LAYER_DIGEST}");
    let pull = async || {
        let answer = site.host().get(&path).await;
        assert_eq!(header(&answer, "docker-content-digest"), LAYER_DIGEST);
        assert_eq!(answer.text().await.unwrap(), LAYER_TEXT);
    };

    pull().await;
    let hex = LAYER_DIGEST.strip_prefix("sha512:").unwrap();
    let file = directory.path().join("sha512").join(&hex[..2]).join(hex);
    eventually("the layer is kept", async || file.exists()).await;
    pull().await;

    let asked = upstream.received();
    assert_eq!(asked.matches("/blobs/").count(), 1, "{asked}");
}
