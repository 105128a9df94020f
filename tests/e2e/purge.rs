//! Cached content that an admin has all workers drop.

use metahub_cli::demo::image::REPOSITORY;
use metahub_tests::{ctl::Ctl, site::Site};
use reqwest::StatusCode;

/// A site whose two workers serve an image by digest that the upstream has
/// deleted. With the digest.
async fn site() -> (Site, String) {
    let site = Site::start(2).await;
    let digest = site.bench.images[0].manifest.digest.clone();
    assert_eq!(answers(&site, &digest).await, [200, 200]);
    site.upstream.fail_with(Some(StatusCode::NOT_FOUND));
    assert_eq!(answers(&site, &digest).await, [200, 200]);
    (site, digest)
}

/// The answer of each worker to a request for the digest.
async fn answers(site: &Site, digest: &str) -> [u16; 2] {
    let mut answers = [0; 2];
    for (n, answer) in answers.iter_mut().enumerate() {
        let client = site.client(n, &site.type1);
        let heard = client.manifest(REPOSITORY, digest).await;
        *answer = heard.status().as_u16();
    }
    answers
}

#[tokio::test]
async fn all_workers_drop_a_deleted_manifest_once_its_digest_is_purged() {
    let (site, digest) = site().await;

    let ctl = Ctl::at(site.control.place());
    let purge = ["cache", "purge", "--digest", &digest, "--wait"];
    ctl.run(&purge).await.text();

    assert_eq!(answers(&site, &digest).await, [404, 404]);
    let audit = ctl.run(&["audit", "tail"]).await.text();
    assert!(audit.contains("cache.purge"), "{audit}");
}

#[tokio::test]
async fn all_workers_drop_what_they_keep_of_a_purged_repository() {
    let (site, digest) = site().await;

    let ctl = Ctl::at(site.control.place());
    let repository = format!("upstream.test/{REPOSITORY}");
    let purge = ["cache", "purge", "--repository", &repository, "--wait"];
    ctl.run(&purge).await.text();

    assert_eq!(answers(&site, &digest).await, [404, 404]);
}
