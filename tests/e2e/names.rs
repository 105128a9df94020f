//! Which upstream a name goes to, and which it never goes to.

use metahub_cli::demo::{
    image::{Form, ImageSet},
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
