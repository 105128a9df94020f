//! Tags and referrers.

use super::*;
use crate::upstream::testing::Answer;

#[tokio::test]
async fn a_page_of_tags_names_the_query_for_the_next_one() {
    let bench = Bench::new().await;
    bench.registry.intercept(|seen| {
        assert_eq!(seen.target, "/v2/app/tags/list?n=2");
        Some(
            Answer::ok(r#"{"name":"app","tags":["a","b"]}"#)
                .with("link", r#"</v2/app/tags/list?n=2&last=b>; rel="next""#),
        )
    });

    let page = bench
        .puller
        .tags(&bench.upstream, &app(), Some("n=2&ns=hub"))
        .await
        .unwrap();

    assert_eq!(page.tags, ["a", "b"]);
    assert_eq!(page.next.as_deref(), Some("n=2&last=b"));
}

#[tokio::test]
async fn a_repository_without_tags_has_an_empty_page() {
    let bench = Bench::new().await;
    bench
        .registry
        .intercept(|_| Some(Answer::ok(r#"{"name":"app","tags":null}"#)));

    let page = bench
        .puller
        .tags(&bench.upstream, &app(), None)
        .await
        .unwrap();

    assert!(page.tags.is_empty() && page.next.is_none());
}

#[tokio::test]
async fn referrers_come_as_the_upstream_has_them() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.intercept(|seen| {
        assert!(seen.target.ends_with("?artifactType=a%2Fb"), "{seen:?}");
        Some(Answer::ok(EMPTY_INDEX).with("oci-filters-applied", "artifactType"))
    });

    let page = bench
        .puller
        .referrers(&bench.upstream, &app(), &digest, Some("artifactType=a/b"))
        .await
        .unwrap();

    assert!(page.filtered);
    assert_eq!(page.bytes, EMPTY_INDEX);
}

#[tokio::test]
async fn the_fallback_tag_stands_in_for_the_referrers_api() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", SMALL_IMAGE);
    let tag = digest.as_str().replace(':', "-");
    bench.registry.put_manifest("app", &tag, EMPTY_INDEX);

    let page = bench
        .puller
        .referrers(&bench.upstream, &app(), &digest, None)
        .await
        .unwrap();

    assert_eq!(page.bytes, EMPTY_INDEX);
}

#[tokio::test]
async fn without_api_and_fallback_tag_there_are_no_referrers() {
    let bench = Bench::new().await;
    let digest = bench.registry.put_manifest("app", "latest", SMALL_IMAGE);

    let page = bench
        .puller
        .referrers(&bench.upstream, &app(), &digest, None)
        .await
        .unwrap();

    assert!(page.bytes.starts_with(br#"{"schemaVersion":2"#));
}

#[tokio::test]
async fn a_list_that_is_none_is_an_error() {
    let bench = Bench::new().await;
    bench.registry.intercept(|_| Some(Answer::ok("<html>")));
    let digest = digest_of(&format!("sha256:{}", "0".repeat(64)));

    let tags = bench.puller.tags(&bench.upstream, &app(), None).await;
    let referrers = bench
        .puller
        .referrers(&bench.upstream, &app(), &digest, None)
        .await;

    assert!(matches!(tags, Err(Error::BadAnswer { .. })), "{tags:?}");
    assert!(
        matches!(referrers, Err(Error::BadAnswer { .. })),
        "{referrers:?}"
    );
}
