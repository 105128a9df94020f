//! Which upstream a name goes to, and which it never goes to.

use metahub_cli::demo::{
    image::{Form, ImageSet, REPOSITORY},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{
    client::{ALL_MANIFESTS, error, header, sent},
    site::Site,
};
use reqwest::{Method, Response};

const APP: &str = "org/app";

/// An upstream beside the default one, with `org/app:latest`.
async fn other() -> (Registry, ImageSet) {
    let upstream = Registry::start().await.expect("the upstream binds");
    let set = ImageSet::new(Form::Oci, &[&[]]).expect("memory takes all");
    upstream.put_images(APP, "latest", &set);
    (upstream, set)
}

/// A site with `other` as the upstream `other.test`.
async fn site_with(other: &Registry) -> Site {
    let mut site = Site::start(1).await;
    let upstream = Upstream {
        name: "other.test".into(),
        url: other.url(),
        hosts: vec!["other.mirror.test".into()],
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    site
}

async fn get(site: &Site, path: &str) -> Response {
    let request = site.host().request(Method::GET, path);
    sent(request.header("accept", ALL_MANIFESTS)).await
}

#[tokio::test]
async fn a_name_that_starts_with_an_upstream_goes_there() {
    let (other, set) = other().await;
    let site = site_with(&other).await;

    let answer = get(&site, "/v2/other.test/org/app/manifests/latest").await;

    assert_eq!(answer.bytes().await.unwrap(), set.index.bytes);
}

#[tokio::test]
async fn a_mirrors_request_goes_to_the_upstream_that_it_names_and_is_told_so() {
    let (other, set) = other().await;
    let site = site_with(&other).await;

    let answer = get(&site, "/v2/org/app/manifests/latest?ns=other.test").await;

    assert_eq!(header(&answer, "oci-namespace"), "other.test");
    assert_eq!(answer.bytes().await.unwrap(), set.index.bytes);
}

#[tokio::test]
async fn a_worker_stands_for_the_upstream_that_it_is_reached_as() {
    let (other, set) = other().await;
    let site = site_with(&other).await;
    let at = async |host: &str, path: &str| {
        let request = site.host().request(Method::GET, path);
        sent(request.header("host", host).header("accept", ALL_MANIFESTS)).await
    };

    for host in ["other.test", "other.mirror.test", "Other.Mirror.test:8080"] {
        let answer = at(host, "/v2/org/app/manifests/latest").await;
        assert_eq!(answer.bytes().await.unwrap(), set.index.bytes, "{host}");
    }
    let bench = format!("/v2/upstream.test/{REPOSITORY}/manifests/latest");
    assert_eq!(at("other.test", &bench).await.status(), 200);
    other.forget_requests();
    let stranger = at("third.test", "/v2/org/app/manifests/latest").await;
    assert_eq!(stranger.status(), 404);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn all_names_of_an_image_share_one_copy_of_it() {
    let (other, _) = other().await;
    let site = site_with(&other).await;
    get(&site, "/v2/other.test/org/app/manifests/latest").await;
    other.forget_requests();

    let path = "/v2/org/app/manifests/latest";
    let mirrored = get(&site, &format!("{path}?ns=other.test")).await;
    let renamed = get(&site, "/v2/other.mirror.test/org/app/manifests/latest").await;
    let request = site.host().request(Method::GET, path);
    let request = request.header("accept", ALL_MANIFESTS);
    let reached = sent(request.header("host", "other.mirror.test")).await;

    for answer in [mirrored, renamed, reached] {
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_registry_that_is_no_upstream_is_never_dialled() {
    let (other, _) = other().await;
    let site = Site::start(1).await;
    let host = other.address();

    for path in [
        format!("/v2/org/app/manifests/latest?ns={host}"),
        format!("/v2/org/app/manifests/latest?ns=http://{host}"),
        format!("/v2/{}/org/app/manifests/latest", host.ip()),
    ] {
        let answer = get(&site, &path).await;

        assert_eq!(answer.status(), 404, "{path}");
        assert!(!error(answer).await.0.is_empty(), "{path}");
    }
    assert_eq!(other.requests().len(), 0);
}
