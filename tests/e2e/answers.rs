//! Answers keep to the distribution spec, whoever asks and however.

use http::Method;
use metahub_cli::demo::{digest::sha256, image::REPOSITORY};
use metahub_tests::{
    client::{ALL_MANIFESTS, error, header, sent},
    site::Site,
};
use reqwest::Response;

const SAME: [&str; 4] = [
    "content-type",
    "content-length",
    "docker-content-digest",
    "etag",
];

/// Paths of every form of reference.
fn paths(site: &Site) -> Vec<String> {
    let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    let broadwell = &site.bench.images[2];
    vec![
        manifest("latest"),
        manifest(&site.bench.index.digest),
        manifest(&broadwell.manifest.digest),
        format!("/v2/{REPOSITORY}/blobs/{}", broadwell.config.digest),
    ]
}

async fn ask(site: &Site, method: Method, path: &str) -> Response {
    let request = site.host().request(method, path);
    sent(request.header("accept", ALL_MANIFESTS)).await
}

#[tokio::test]
async fn head_is_get_without_a_body_for_every_form_of_reference() {
    let site = Site::start(1).await;

    for path in paths(&site) {
        let head = ask(&site, Method::HEAD, &path).await;
        let get = ask(&site, Method::GET, &path).await;

        assert_eq!(head.status(), get.status(), "{path}");
        for name in SAME {
            assert_eq!(header(&head, name), header(&get, name), "{name} of {path}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_is_asked_for_by_digest_hashes_to_that_digest() {
    let site = Site::start(1).await;

    for path in &paths(&site)[1..] {
        let answer = ask(&site, Method::GET, path).await;

        let bytes = answer.bytes().await.unwrap();
        assert!(path.ends_with(&sha256(&bytes)), "{path}");
    }
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let site = Site::start(1).await;

    for path in paths(&site) {
        let etag = header(&ask(&site, Method::GET, &path).await, "etag");
        for given in [&etag, etag.trim_matches('"')] {
            let request = site.host().request(Method::GET, &path);
            let request = request.header("accept", ALL_MANIFESTS);
            let answer = sent(request.header("if-none-match", given)).await;

            assert_eq!(answer.status(), 304, "{path} {given}");
            assert!(answer.bytes().await.unwrap().is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn accept_may_come_in_any_order_over_several_lines() {
    let site = Site::start(1).await;
    let path = &paths(&site)[0];
    let mut lines: Vec<&str> = ALL_MANIFESTS.split(", ").collect();

    for _ in 0..lines.len() {
        lines.rotate_left(1);
        let mut request = site.host().request(Method::GET, path);
        for line in &lines {
            request = request.header("accept", *line);
        }
        let answer = sent(request).await;

        assert_eq!(answer.status(), 200, "{lines:?}");
    }
}

#[tokio::test]
async fn a_client_that_takes_anything_gets_the_same_as_one_that_names_its_types() {
    let site = Site::start(1).await;
    let path = &paths(&site)[0];
    let named = header(
        &ask(&site, Method::GET, path).await,
        "docker-content-digest",
    );

    for accept in [Some("*/*"), None] {
        let mut request = site.host().request(Method::GET, path);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = sent(request).await;

        assert_eq!(header(&answer, "docker-content-digest"), named);
    }
}

#[tokio::test]
async fn a_part_of_a_blob_is_served_as_that_part() {
    let site = Site::start(1).await;
    let layer = &site.bench.images[2].layer;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", layer.digest);

    let request = site.host().request(Method::GET, &path);
    let answer = sent(request.header("range", "bytes=10-19")).await;

    assert_eq!(answer.status(), 206);
    let total = layer.bytes.len();
    assert_eq!(
        header(&answer, "content-range"),
        format!("bytes 10-19/{total}")
    );
    assert_eq!(answer.bytes().await.unwrap(), layer.bytes.slice(10..20));
}

#[tokio::test]
async fn the_rest_of_a_blob_is_served_from_where_a_client_was_cut() {
    let site = Site::start(1).await;
    let layer = &site.bench.images[2].layer;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", layer.digest);

    let request = site.host().request(Method::GET, &path);
    let answer = sent(request.header("range", "bytes=100-")).await;

    assert_eq!(answer.status(), 206);
    assert_eq!(answer.bytes().await.unwrap(), layer.bytes.slice(100..));
}

#[tokio::test]
async fn the_tags_of_a_repository_are_listed() {
    let site = Site::start(1).await;
    let digest = &site.bench.index.digest;
    site.upstream.tag(REPOSITORY, "v1", Some(digest));

    let answer = site
        .host()
        .get(&format!("/v2/{REPOSITORY}/tags/list"))
        .await;

    let list: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(list["name"], REPOSITORY);
    assert_eq!(list["tags"], serde_json::json!(["latest", "v1"]));
}

#[tokio::test]
async fn nobody_can_write() {
    let site = Site::start(1).await;
    let digest = &site.bench.index.digest;
    let manifest = format!("/v2/{REPOSITORY}/manifests/latest");
    let blob = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let writes = [
        (Method::PUT, &manifest),
        (Method::DELETE, &manifest),
        (Method::DELETE, &blob),
        (Method::POST, &uploads),
        (Method::PATCH, &uploads),
    ];
    site.upstream.forget_requests();

    for (method, path) in writes {
        let answer = sent(site.host().request(method.clone(), path)).await;

        assert_eq!(answer.status(), 405, "{method} {path}");
        assert_eq!(error(answer).await.0, "UNSUPPORTED", "{method} {path}");
    }

    assert_eq!(site.upstream.requests().len(), 0, "the upstream was asked");
}

#[tokio::test]
async fn there_is_no_catalog() {
    let site = Site::start(1).await;

    let answer = site.host().get("/v2/_catalog").await;

    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_its_own_code() {
    let site = Site::start(1).await;
    let nothing = sha256(b"nothing has this digest");
    let cases = [
        (
            format!("/v2/{REPOSITORY}/manifests/none"),
            "MANIFEST_UNKNOWN",
        ),
        (
            format!("/v2/{REPOSITORY}/manifests/{nothing}"),
            "MANIFEST_UNKNOWN",
        ),
        (format!("/v2/{REPOSITORY}/blobs/{nothing}"), "BLOB_UNKNOWN"),
    ];

    for (path, expected) in cases {
        let answer = ask(&site, Method::GET, &path).await;

        assert_eq!(answer.status(), 404, "{path}");
        let (code, message) = error(answer).await;
        assert_eq!(code, expected, "{path}");
        let (_, reference) = path.rsplit_once('/').expect("a reference is last");
        assert!(message.contains(REPOSITORY), "{message}");
        assert!(message.contains(reference), "{message}");
    }
}
