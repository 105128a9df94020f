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
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

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
            "mediaType": IMAGE,
            "size": 2,
            "digest": sha256(name.as_bytes()),
            "artifactType": format!("application/{name}"),
        })
    });
    let entries: Vec<_> = entries.collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
}

/// Two pages of tags of one each, and an image.
fn two_pages(request: &str) -> Said {
    if request.contains("/manifests/") {
        return Said::ok(IMAGE, r#"{"schemaVersion":2,"config":{},"layers":[]}"#);
    }
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
}

#[tokio::test]
async fn a_page_of_tags_leads_to_the_next_one_at_the_worker() {
    let (site, upstream) = site().await;
    upstream.says(two_pages);

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

/// What a list of referrers, page by page, is asked for with `path`.
async fn pages(site: &Site, path: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = site.host().get(&path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let link = answer.headers().get("link");
        next = link.map(|link| {
            let link = link.to_str().expect("a link is text");
            let path = link.strip_prefix('<');
            let path = path.and_then(|it| it.strip_suffix(">; rel=\"next\""));
            path.expect("a link leads to the next page").to_owned()
        });
        pages.push(answer.json().await.expect("a list is JSON"));
    }
    pages
}

#[tokio::test]
async fn a_page_of_referrers_leads_to_the_next_one_with_its_filter() {
    let (site, upstream) = site().await;
    upstream.says(|request| {
        let is_second = request.contains("page=2");
        let body = referrers(&[if is_second { "sbom2" } else { "sbom1" }]);
        let length = body.len().to_string();
        let mut headers = vec![("Content-Type", INDEX), ("Content-Length", &*length)];
        if !is_second {
            // Of another host and under another path, as it may be.
            let link = "<https://upstream.test/x?artifactType=a%2Fb&page=2>; rel=next";
            headers.push(("Link", link));
        }
        Said::headed("200 OK", &headers).and(body)
    });
    let path = format!("/v2/lists.test/app/referrers/{}", sha256(b"image"));

    let pages = pages(&site, &format!("{path}?artifactType=a/b")).await;

    let types = pages
        .iter()
        .map(|page| &page["manifests"][0]["artifactType"]);
    let types: Vec<_> = types.collect();
    assert_eq!(types, ["application/sbom1", "application/sbom2"]);
    let asked = upstream.received();
    assert!(asked.contains("?artifactType=a%2Fb HTTP"), "{asked}");
    assert!(asked.contains("?artifactType=a%2Fb&page=2 HTTP"), "{asked}");
}

#[tokio::test]
async fn a_fallback_tag_is_not_said_to_be_filtered() {
    let (site, upstream) = site().await;
    upstream.says(|request| match request.contains("/manifests/sha256-") {
        true => Said::ok(INDEX, referrers(&["signature", "sbom"])),
        false => Said::status("404 Not Found"),
    });
    let path = format!("/v2/lists.test/app/referrers/{}", sha256(b"image"));

    let answer = site.host().get(&format!("{path}?artifactType=a/b")).await;

    assert_eq!(answer.headers().get("oci-filters-applied"), None);
    assert_eq!(
        answer.text().await.unwrap(),
        referrers(&["signature", "sbom"])
    );
}

#[tokio::test]
async fn a_fallback_tag_itself_is_served_whole() {
    let site = Site::start(1).await;
    let index = referrers(&["signature"]);
    let digest = site.upstream.put_manifest(REPOSITORY, INDEX, index.clone());
    let tag = site.bench.index.digest.replace(':', "-");
    site.upstream.tag(REPOSITORY, &tag, Some(&digest));

    let answer = site.host().manifest(REPOSITORY, &tag).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), index);
}

#[tokio::test]
async fn to_a_trimmed_index_belongs_what_belongs_to_its_source() {
    let mut site = Site::start_with(2, Form::Oci, &[]).await;
    let lister = site
        .admin
        .create_lister("qnib", "lister", &["cpu:broadwell"])
        .await;
    site.admin.all_current(2).await;
    let trimmed = site.client(0, &lister).digest(REPOSITORY, "latest").await;
    let signature = &site.bench.images[0].manifest.digest;
    let about = |digest: &str| digest.replace(':', "-");
    let source = &site.bench.index.digest;
    assert_ne!(trimmed, *source);
    for suffix in [".sig", ".att", ".sbom", ""] {
        let tag = about(source) + suffix;
        site.upstream.tag(REPOSITORY, &tag, Some(signature));
    }

    for worker in [1, 0] {
        let client = site.client(worker, &lister);
        for suffix in [".sig", ".att", ".sbom", ""] {
            let tag = about(&trimmed) + suffix;
            assert_eq!(client.digest(REPOSITORY, &tag).await, *signature);
        }
        let unknown = about(&sha256(b"unknown")) + ".sig";
        let answer = client.manifest(REPOSITORY, &unknown).await;
        assert_eq!(answer.status(), 404);
    }
}

#[tokio::test]
async fn to_a_chosen_image_belongs_what_is_signed_at_the_upstream() {
    let site = Site::start(1).await;
    let image = site.host().digest(REPOSITORY, "latest").await;
    let signature = &site.bench.images[0].manifest.digest;
    let tag = image.replace(':', "-") + ".sig";
    site.upstream.tag(REPOSITORY, &tag, Some(signature));

    let found = site.host().digest(REPOSITORY, &tag).await;

    assert_eq!(image, site.bench.images[2].manifest.digest);
    assert_eq!(found, *signature);
}

#[cfg(feature = "real-parts")]
#[tokio::test]
async fn a_real_client_follows_the_pages_of_a_list() {
    use metahub_tests::parts::{OrasLogin, oras};

    let (site, upstream) = site().await;
    upstream.says(two_pages);
    let host = site.workers[0].addr();

    let image = ("lists.test/app", "v1");
    let said = oras(host, OrasLogin::Basic, &site.type1, image).await;

    let said: Value = serde_json::from_str(&said.text()).expect("it prints JSON");
    assert_eq!(said["pages"], json!([["v1"], ["v2"]]));
}
