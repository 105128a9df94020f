//! Lists of upstreams, as clients page through them, and tags of signatures.

use metahub_cli::demo::{
    digest::sha256,
    image::{Form, REPOSITORY},
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::header,
    hostile::{HostileHost, Said},
    site::Site,
};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A site with a second upstream, `lists.test`, which says what it is told.
async fn site() -> (Site, HostileHost) {
    let mut site = Site::start_with(1, Form::Docker, &[]).await;
    let upstream = HostileHost::start(1).await;
    site.admin
        .put_upstream(Upstream {
            name: "lists.test".into(),
            url: upstream.url(),
            ..Default::default()
        })
        .await;
    site.admin.all_current(1).await;
    (site, upstream)
}

async fn list(site: &Site, path: &str) -> Value {
    let answer = site.host().get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("a list is JSON")
}

/// A list with these entries.
fn referrers(names: &[&str]) -> String {
    let entries = names.iter().map(|name| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "size": 2,
            "digest": sha256(name.as_bytes()),
            "artifactType": format!("application/{name}"),
        })
    });
    let entries: Vec<_> = entries.collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
}

#[tokio::test]
async fn a_page_of_tags_leads_to_the_next_one_at_the_worker() {
    let (site, upstream) = site().await;
    upstream.says(|request| {
        let (tag, link) = match request.starts_with("GET /v2/app/tags/list?n=1 ") {
            true => ("v1", "</v2/app/tags/list?n=1&last=v1>; rel=\"next\""),
            false => ("v2", ""),
        };
        let body = format!(r#"{{"name":"app","tags":["{tag}"]}}"#);
        let length = body.len().to_string();
        let mut headers = vec![("Content-Length", length.as_str())];
        if !link.is_empty() {
            headers.push(("Link", link));
        }
        Said::headed("200 OK", &headers).and(body)
    });

    let first = site.host().get("/v2/lists.test/app/tags/list?n=1").await;
    let link = header(&first, "link");
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    let (first, second) = (
        first.json::<Value>().await.unwrap(),
        list(&site, next).await,
    );

    assert!(next.starts_with("/v2/lists.test/app/tags/list?"), "{next}");
    assert_eq!(first, json!({"name": "lists.test/app", "tags": ["v1"]}));
    assert_eq!(second, json!({"name": "lists.test/app", "tags": ["v2"]}));
    assert!(upstream.received().contains("?n=1&last=v1 HTTP"));
}

#[tokio::test]
async fn a_page_without_bounds_is_asked_for_with_bounds() {
    let (site, upstream) = site().await;
    upstream.says(|_| Said::ok("application/json", r#"{"name":"app","tags":[]}"#));

    list(&site, "/v2/lists.test/app/tags/list?n=1000000000").await;

    assert!(upstream.received().contains("/tags/list?n=1000 HTTP"));
}

#[tokio::test]
async fn a_filter_of_referrers_reaches_the_upstream_and_its_mark_the_client() {
    let (site, upstream) = site().await;
    upstream.says(|_| {
        let body = referrers(&["sbom"]);
        let length = body.len().to_string();
        let headers = [
            ("Content-Type", INDEX),
            ("Content-Length", &length),
            ("OCI-Filters-Applied", "artifactType"),
        ];
        Said::headed("200 OK", &headers).and(body)
    });
    let path = format!("/v2/lists.test/app/referrers/{}", sha256(b"image"));

    let path = format!("{path}?artifactType=application/sbom");
    let answer = site.host().get(&path).await;

    assert_eq!(header(&answer, "oci-filters-applied"), "artifactType");
    assert_eq!(answer.text().await.unwrap(), referrers(&["sbom"]));
    let asked = upstream.received();
    assert!(
        asked.contains("?artifactType=application%2Fsbom HTTP"),
        "{asked}"
    );
}

#[tokio::test]
async fn the_fallback_tag_lists_referrers_where_the_upstream_cannot() {
    let (site, upstream) = site().await;
    let digest = sha256(b"image");
    let fallback = format!("/v2/app/manifests/{} ", digest.replace(':', "-"));
    upstream.says(move |request| match request.contains(&fallback) {
        true => Said::ok(INDEX, referrers(&["signature", "sbom"])),
        false => Said::status("404 Not Found"),
    });

    let found = list(&site, &format!("/v2/lists.test/app/referrers/{digest}")).await;

    assert_eq!(found.to_string(), {
        let expected: Value = serde_json::from_str(&referrers(&["signature", "sbom"])).unwrap();
        expected.to_string()
    });
}

#[tokio::test]
async fn a_signature_under_a_tag_of_cosigns_is_served() {
    let site = Site::start(1).await;
    let image = &site.bench.images[1].manifest;
    let tag = format!("{}.sig", site.bench.index.digest.replace(':', "-"));
    let upstream = &site.upstream;
    upstream.tag(REPOSITORY, &tag, Some(&image.digest));

    let found = site.host().digest(REPOSITORY, &tag).await;
    let tags = list(&site, &format!("/v2/{REPOSITORY}/tags/list")).await;

    assert_eq!(found, image.digest);
    assert!(tags["tags"].as_array().unwrap().contains(&json!(tag)));
}
