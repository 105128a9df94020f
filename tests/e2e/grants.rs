//! Who may pull from a restricted upstream.

use metahub_cli::demo::{
    image::{Form, ImageSet},
    registry::Registry,
};
use metahub_proto::policy::v1::Upstream;
use metahub_tests::{client::error, site::Site};

const APP: &str = "closed.test/acme/app";
const ACME: &str = "closed.test/acme/*";

/// A site with an upstream `closed.test` that wants an account, and what
/// `acme/app:latest` is there.
async fn site() -> (Site, Registry, ImageSet) {
    let closed = Registry::start().await.expect("the upstream binds");
    let set = ImageSet::new(Form::Oci, &[&[]]).expect("memory takes all");
    closed.put_images("acme/app", "latest", &set);
    closed.require_account("robot", "hunter2");
    let mut site = Site::start(1).await;
    let upstream = Upstream {
        name: "closed.test".into(),
        url: closed.url(),
        username: "robot".into(),
        password: "hunter2".into(),
        ..Default::default()
    };
    site.admin.put_upstream(upstream).await;
    site.admin.all_current(1).await;
    (site, closed, set)
}

#[tokio::test]
async fn an_upstream_with_an_account_is_closed_until_there_is_a_grant() {
    let (mut site, closed, set) = site().await;

    let answer = site.host().manifest(APP, "latest").await;

    assert_eq!(answer.status(), 403);
    let (code, message) = error(answer).await;
    assert_eq!(code, "DENIED");
    assert!(
        message.contains("user `qnib` may not pull `closed.test/acme/app`"),
        "{message}"
    );
    assert_eq!(closed.requests().len(), 0);

    site.admin.create_grant(Some("qnib"), ACME).await;
    site.admin.all_current(1).await;

    let answer = site.host().manifest(APP, "latest").await;
    assert_eq!(answer.bytes().await.unwrap(), set.index.bytes);
}

#[tokio::test]
async fn what_one_user_has_put_into_the_cache_is_not_served_to_another() {
    let (mut site, _closed, set) = site().await;
    site.admin.create_grant(Some("qnib"), ACME).await;
    site.admin.create_user("moby").await;
    let other = site
        .admin
        .create_type("moby", "type1", &["cpu:broadwell"])
        .await;
    site.admin.all_current(1).await;
    let layer = set.images[0].layer.digest.clone();
    let paths = [
        format!("/v2/{APP}/manifests/latest"),
        format!("/v2/{APP}/manifests/{}", set.index.digest),
        format!("/v2/{APP}/blobs/{layer}"),
        format!("/v2/{APP}/tags/list"),
    ];
    for path in &paths {
        assert_eq!(site.host().get(path).await.status(), 200, "{path}");
    }

    for path in &paths {
        let answer = site.client(0, &other).get(path).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
}

#[tokio::test]
async fn a_grant_that_is_taken_back_closes_what_is_cached() {
    let (mut site, _closed, set) = site().await;
    site.admin.create_grant(None, ACME).await;
    site.admin.all_current(1).await;
    site.host().digest(APP, &set.index.digest).await;

    site.admin.delete_grant(None, ACME).await;
    site.admin.all_current(1).await;

    let answer = site.host().manifest(APP, &set.index.digest).await;
    assert_eq!(answer.status(), 403);
}
