//! Tags and referrers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

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
    assert!(referrers.is_err(), "{referrers:?}");
}

/// Serves `index` under the fallback tag for the referrers of an image.
fn put_fallback(bench: &Bench, index: &str) -> Digest {
    let digest = bench.registry.put_manifest("app", "latest", SMALL_IMAGE);
    let tag = digest.as_str().replace(':', "-");
    bench.registry.put_manifest("app", &tag, index);
    digest
}

/// An index of one entry.
fn one_entry() -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}"}}]}}"#)
}

#[tokio::test]
async fn whatever_else_the_referrers_api_says_the_fallback_tag_stands_in() {
    let bench = Bench::patient().await;
    let (repository, digest) = (app(), put_fallback(&bench, &one_entry()));
    let page = || Answer::ok("<html>").with("content-type", "text/html");
    let odd: [fn() -> Answer; 12] = [
        || Answer::status(400),
        || Answer::status(403),
        || Answer::status(404),
        || Answer::status(405),
        || Answer::status(406),
        || Answer::status(501),
        || Answer::ok("<html>"),
        || Answer::ok(r#"{"message":"hello"}"#),
        || Answer::ok(r#"{"manifests":["a"]}"#),
        || Answer::ok(r#"{"mediaType":"text/plain","manifests":[]}"#),
        || Answer::status(307).with("location", "/login"),
        || Answer::status(307).with("location", "/forbidden"),
    ];
    for (number, odd) in odd.into_iter().enumerate() {
        bench.registry.intercept(move |seen| match &*seen.target {
            "/login" => Some(page()),
            "/forbidden" => Some(Answer::status(403)),
            target => target.contains("/referrers/").then(odd),
        });
        let query = format!("artifactType=a{number}");

        let found = bench
            .puller
            .referrers(&bench.upstream, &repository, &digest, Some(&query));

        assert_eq!(found.await.unwrap().bytes, one_entry(), "{number}");
    }
}

#[tokio::test]
async fn a_fallback_tag_that_is_no_index_lists_nothing() {
    for other in [
        SMALL_IMAGE,
        r#"{"schemaVersion":2,"manifests":["a"]}"#,
        r#"{"schemaVersion":2,"manifests":[{}]}"#,
    ] {
        let bench = Bench::new().await;
        let (repository, digest) = (app(), put_fallback(&bench, other));

        let found = bench
            .puller
            .referrers(&bench.upstream, &repository, &digest, None);

        let bytes = found.await.unwrap().bytes.clone();
        assert!(bytes.ends_with(br#""manifests":[]}"#), "{other}");
    }
}

#[tokio::test]
async fn lists_are_served_without_delay_while_their_upstream_is_down() {
    let bench = Bench::patient().await;
    let (repository, digest) = (app(), put_fallback(&bench, &one_entry()));
    let tags = r#"{"name":"app","tags":["a"]}"#;
    bench
        .registry
        .intercept(move |seen| seen.target.contains("/tags/").then(|| Answer::ok(tags)));
    let tags = || bench.puller.tags(&bench.upstream, &repository, None);
    let referrers = || {
        bench
            .puller
            .referrers(&bench.upstream, &repository, &digest, None)
    };
    let fresh = (tags().await.unwrap(), referrers().await.unwrap());
    assert!(fresh.0.stale.is_none() && fresh.1.stale.is_none());
    bench.registry.intercept(|_| Some(Answer::status(503)));

    let old = async { (tags().await.unwrap(), referrers().await.unwrap()) };
    let old = tokio::time::timeout(Duration::from_secs(20), old).await;
    let (old_tags, old_referrers) = old.expect("less than the patience for an upstream");

    assert_eq!(old_tags.tags, ["a"]);
    assert_eq!(old_referrers.bytes, one_entry());
    assert!(old_tags.stale.is_some() && old_referrers.stale.is_some());
    let asked = bench.registry.seen().len();
    assert!(tags().await.unwrap().stale.is_some());
    assert_eq!(bench.registry.seen().len(), asked);
    bench.expire();
    bench.registry.intercept(|_| Some(Answer::status(404)));
    assert!(matches!(tags().await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_list_is_asked_for_anew_while_its_upstream_is_well() {
    let bench = Bench::new().await;
    let asked = Arc::new(AtomicUsize::new(0));
    bench.registry.intercept({
        let asked = Arc::clone(&asked);
        move |_| {
            let tag = asked.fetch_add(1, Relaxed);
            Some(Answer::ok(format!(r#"{{"tags":["{tag}"]}}"#)))
        }
    });

    for tag in ["0", "1"] {
        let page = bench.puller.tags(&bench.upstream, &app(), None).await;
        assert_eq!(page.unwrap().tags, [tag]);
    }
}

#[tokio::test]
async fn a_page_beyond_the_upstreams_largest_is_made_of_several() {
    for refusal in [400, 405, 413] {
        let bench = Bench::new().await;
        let was_refused = Arc::new(AtomicBool::new(false));
        bench.registry.intercept({
            let was_refused = Arc::clone(&was_refused);
            move |seen| {
                let (first, last) = match seen.target.split_once('?').map(|it| it.1) {
                    Some("n=100") => {
                        was_refused.store(true, Relaxed);
                        return Some(Answer::status(refusal));
                    }
                    None => (0, 10),
                    Some("n=10&last=9") => (10, 20),
                    Some("n=10&last=19") => (20, 25),
                    Some(other) => panic!("{other}"),
                };
                let tags: Vec<_> = (first..last).map(|n: u32| n.to_string()).collect();
                let page = Answer::ok(serde_json::json!({"tags": tags}).to_string());
                let next = format!("</v2/app/tags/list?n=10&last={}>; rel=next", last - 1);
                Some(match last {
                    25 => page,
                    _ => page.with("link", &next),
                })
            }
        });

        let page = bench
            .puller
            .tags(&bench.upstream, &app(), Some("n=100"))
            .await
            .unwrap();

        assert_eq!((page.tags.len(), &page.next), (25, &None), "{refusal}");
        assert!(was_refused.load(Relaxed));
    }
}
