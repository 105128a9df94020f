//! Tags and digests, fetched and kept.

use futures_util::future::join_all;

use super::*;
use crate::upstream::testing::{Answer, INDEX};

#[tokio::test]
async fn a_tag_within_its_time_to_live_needs_no_upstream() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    assert!(bench.fresh("latest").is_none());

    let pulled = bench.pull("latest").await.unwrap();

    let fresh = bench.fresh("latest").unwrap();
    assert_eq!(fresh.bytes, EMPTY_INDEX);
    assert_eq!(fresh.media_type, INDEX);
    assert_eq!(fresh.digest, pulled.digest);
    assert_eq!((bench.gets(), bench.heads()), (1, 0));
}

#[tokio::test]
async fn two_hundred_pulls_of_an_uncached_tag_are_one_get() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);

    let pulls = join_all((0..200).map(|_| bench.pull("latest"))).await;

    assert!(pulls.iter().all(Result::is_ok));
    assert_eq!(bench.gets(), 1);
    assert_eq!(bench.puller.metrics().joins.get(), 199);
}

#[tokio::test]
async fn a_client_that_leaves_disturbs_nobody_on_the_same_flight() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let mut first = Box::pin(bench.pull("latest"));
    assert!(futures_util::poll!(&mut first).is_pending());

    let second = bench.pull("latest");
    drop(first);

    assert!(second.await.is_ok());
    assert_eq!(bench.gets(), 1);
}

#[tokio::test]
async fn a_tag_that_still_means_the_same_costs_one_head() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();

    bench.expire();
    assert!(bench.fresh("latest").is_none());
    let pulls = join_all((0..50).map(|_| bench.pull("latest"))).await;

    assert!(pulls.iter().all(Result::is_ok));
    assert!(bench.fresh("latest").is_some());
    assert_eq!((bench.gets(), bench.heads()), (1, 1));
}

#[tokio::test]
async fn a_tag_that_was_pushed_again_is_seen_after_its_time_to_live() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench.registry.put_manifest("app", "latest", SMALL_IMAGE);

    bench.expire();

    assert_eq!(bench.pull("latest").await.unwrap().bytes, SMALL_IMAGE);
    assert_eq!((bench.gets(), bench.heads()), (2, 1));
}

#[tokio::test]
async fn a_tag_that_moves_to_a_manifest_in_memory_is_settled_by_one_get() {
    let bench = Bench::new().await;
    let old = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.put_manifest("app", "latest", SMALL_IMAGE);
    bench.pull(old.as_str()).await.unwrap();
    bench.pull("latest").await.unwrap();
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);

    bench.expire();

    assert_eq!(bench.pull("latest").await.unwrap().digest, old);
    assert_eq!((bench.gets(), bench.heads()), (3, 1));
}

#[tokio::test]
async fn a_digest_is_never_asked_for_twice() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();

    bench.expire();

    assert!(bench.fresh(digest.as_str()).is_some());
    bench.pull(digest.as_str()).await.unwrap();
    assert_eq!((bench.gets(), bench.heads()), (1, 0));
}

#[tokio::test]
async fn what_one_repository_holds_is_no_answer_for_another() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    let other = Repository::parse("other").unwrap();

    let pulled = bench
        .puller
        .manifest(&bench.upstream, &other, &Reference::Digest(digest))
        .await;

    assert!(matches!(pulled, Err(Error::NotFound { .. })), "{pulled:?}");
}

#[tokio::test]
async fn without_a_digest_in_the_head_a_get_tells() {
    let bench = Bench::new().await;
    bench
        .registry
        .intercept(|_| Some(Answer::ok(EMPTY_INDEX).with("content-type", INDEX)));
    bench.pull("latest").await.unwrap();

    bench.expire();

    assert!(bench.pull("latest").await.is_ok());
    assert_eq!((bench.gets(), bench.heads()), (2, 1));
}

#[tokio::test]
async fn an_upstream_that_knows_no_head_is_asked_by_get() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench
        .registry
        .intercept(|seen| (seen.method == "HEAD").then(|| Answer::status(405)));
    bench.pull("latest").await.unwrap();

    bench.expire();

    assert!(bench.pull("latest").await.is_ok());
    assert_eq!(bench.gets(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_remembered_for_a_few_seconds_only() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        let missing = bench.pull("latest").await;
        assert!(
            matches!(missing, Err(Error::NotFound { .. })),
            "{missing:?}"
        );
    }
    assert_eq!(bench.gets(), 1);
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);

    bench.clock.advance(Duration::from_secs(6));

    assert!(bench.pull("latest").await.is_ok());
}

#[tokio::test]
async fn a_deleted_tag_is_gone_and_not_served_from_memory() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench.registry.intercept(|_| Some(Answer::status(404)));

    bench.expire();

    let gone = bench.pull("latest").await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn the_index_in_a_source_is_read() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "index", EMPTY_INDEX);
    bench.registry.put_manifest("app", "image", SMALL_IMAGE);

    let index = bench.pull("index").await.unwrap();
    let image = bench.pull("image").await.unwrap();

    assert!(index.index().unwrap().unwrap().entries.is_empty());
    assert!(image.index().unwrap().is_none());
}

#[tokio::test]
async fn the_base_path_of_an_upstream_is_kept() {
    let bench = Bench::new().await;
    let mut url = bench.registry.url();
    url.set_path("/artifactory/docker/");
    let upstream = Arc::new(Upstream::new("jf", url, None, false));

    let _ = bench
        .puller
        .manifest(&upstream, &app(), &reference_of("latest"))
        .await;

    assert_eq!(
        bench.registry.seen()[0].target,
        "/artifactory/docker/v2/app/manifests/latest"
    );
}

#[tokio::test]
async fn tags_that_were_pulled_together_are_not_asked_for_again_together() {
    let bench = Bench::new().await;
    let tags: Vec<_> = (0..50).map(|n| format!("t{n}")).collect();
    for tag in &tags {
        bench.registry.put_manifest("app", tag, EMPTY_INDEX);
        bench.pull(tag).await.unwrap();
    }

    bench.clock.advance(Settings::default().tag_ttl);

    let fresh = tags.iter().filter(|tag| bench.fresh(tag).is_some());
    assert!((1..50).contains(&fresh.count()));
}

#[tokio::test]
async fn a_deleted_manifest_is_served_by_digest_for_a_bounded_time() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull(digest.as_str()).await.unwrap();

    bench.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    bench.pull(digest.as_str()).await.unwrap();
    assert_eq!((bench.gets(), bench.heads()), (1, 1));
    assert!(bench.fresh(digest.as_str()).is_some());

    bench.registry.intercept(|_| Some(Answer::status(404)));
    bench.clock.advance(Duration::from_secs(8 * 24 * 60 * 60));
    let pulled = bench.pull(digest.as_str()).await;

    assert!(matches!(pulled, Err(Error::NotFound { .. })), "{pulled:?}");
}

#[tokio::test]
async fn a_tag_that_is_not_believed_at_all_is_not_remembered_as_missing_either() {
    let settings = Settings {
        tag_ttl: Duration::ZERO,
        ..Settings::default()
    };
    let bench = Bench::with(settings, None).await;
    bench.pull("latest").await.unwrap_err();

    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);

    assert!(bench.pull("latest").await.is_ok());
}
