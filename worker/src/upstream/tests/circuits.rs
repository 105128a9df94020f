//! Repositories that fail, beside others that do not.

use http::Method;

use super::*;
use crate::upstream::{BlobRequest, Place, Why, testing::Answer};

/// A bench that waits for nothing: what is not answered at once is an error.
async fn impatient() -> Bench {
    let settings = Settings {
        patience: Duration::ZERO,
        ..Settings::default()
    };
    Bench::with(settings, None).await
}

impl Bench {
    async fn pull_from(&self, repository: &str) -> Result<Arc<Source>, Error> {
        let repository = Repository::parse(repository).unwrap();
        self.puller
            .manifest(&self.upstream, &repository, &reference_of("latest"))
            .await
    }
}

fn fail_at(registry: &Registry, part: &'static str) {
    registry.intercept(move |seen| seen.target.contains(part).then(|| Answer::status(500)));
}

#[tokio::test]
async fn a_repository_that_fails_stops_no_pull_of_another_one() {
    let bench = impatient().await;
    fail_at(&bench.registry, "/bad/");
    for number in 0..30 {
        let healthy = format!("healthy{number}");
        bench.registry.put_manifest(&healthy, "latest", EMPTY_INDEX);
        for _ in 0..10 {
            assert!(bench.pull_from("bad").await.is_err());
        }

        let pulled = bench.pull_from(&healthy).await;

        assert!(pulled.is_ok(), "{healthy}: {pulled:?}");
    }
    let asked = bench.registry.count("GET /v2/bad/");
    assert!(asked < 10, "the one that fails is asked {asked} times");
}

#[tokio::test]
async fn a_redirect_target_that_fails_stops_no_blob_of_another_repository() {
    let bench = impatient().await;
    let store = Registry::start_at("127.0.0.2").await;
    store.intercept(|_| Some(Answer::status(403)));
    let location = store.url();
    bench.registry.intercept(move |seen| {
        let redirect = Answer::status(307).with("location", location.as_str());
        seen.target.contains("/bad/").then_some(redirect)
    });
    let blob = async |repository: &str, content: &str| {
        let repository = Repository::parse(repository).unwrap();
        let digest = bench
            .registry
            .put_blob(repository.as_str(), content.to_owned());
        let request = BlobRequest {
            repository: &repository,
            digest: &digest,
            method: &Method::GET,
            range: None,
            if_range: None,
            host: None,
        };
        bench.puller.blob(&bench.upstream, request).await
    };
    for number in 0..30 {
        for _ in 0..5 {
            let error = blob("bad", "abc").await.unwrap_err();
            assert!(error.is_weather(), "{error:?}");
        }

        let pulled = blob(&format!("healthy{number}"), "abc").await;

        assert!(pulled.is_ok(), "{number}: {pulled:?}");
    }
    assert!(store.seen().len() < 10, "{}", store.seen().len());
}

#[tokio::test]
async fn a_redirect_target_is_named_in_the_error() {
    let bench = impatient().await;
    let store = Registry::start_at("127.0.0.2").await;
    store.intercept(|_| Some(Answer::status(403)));
    let location = store.url();
    bench
        .registry
        .intercept(move |_| Some(Answer::status(307).with("location", location.as_str())));

    let error = bench.pull("latest").await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "hub's redirect target is not available: it answers 403 Forbidden"
    );
}

#[tokio::test]
async fn a_tag_that_fails_is_not_the_probe_for_its_repository() {
    let bench = impatient().await;
    fail_at(&bench.registry, "/manifests/bad");
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    for _ in 0..10 {
        assert!(bench.pull("bad").await.is_err());
    }
    assert_eq!(bench.gets(), 5);

    bench.clock.advance(Duration::from_millis(251));

    assert!(bench.pull("bad").await.is_err());
    assert_eq!(bench.gets(), 5, "the one that failed still rests");
    assert!(bench.pull("latest").await.is_ok());
}

#[tokio::test]
async fn an_upstream_whose_repositories_all_fail_is_asked_for_less() {
    let bench = impatient().await;
    fail_at(&bench.registry, "/v2/");

    for number in 0..100 {
        assert!(bench.pull_from(&format!("r{number}")).await.is_err());
    }

    let asked = bench.registry.seen().len();
    assert!((5..10).contains(&asked), "{asked}");
}

#[tokio::test]
async fn an_upstream_that_recovers_is_found_out_by_a_repository_that_did_not_fail() {
    let bench = impatient().await;
    fail_at(&bench.registry, "/v2/");
    for number in 0..100 {
        assert!(bench.pull_from(&format!("r{number}")).await.is_err());
    }
    bench.registry.behave();
    for repository in ["new", "newer"] {
        bench
            .registry
            .put_manifest(repository, "latest", EMPTY_INDEX);
    }

    bench.clock.advance(Duration::from_millis(251));

    for repository in ["new", "newer"] {
        assert!(bench.pull_from(repository).await.is_ok());
    }
}

#[tokio::test]
async fn connections_that_fail_count_for_the_whole_upstream() {
    let mut bench = impatient().await;
    let closed = Registry::start().await;
    bench.upstream = upstream(&closed, None);
    drop(closed);
    let why = |error: Error| match error {
        Error::Unavailable {
            why,
            place: Place::Upstream,
            ..
        } => why,
        error => panic!("{error:?}"),
    };

    let mut failures = Vec::new();
    for number in 0..10 {
        let failed = bench.pull_from(&format!("r{number}")).await;
        failures.push(why(failed.unwrap_err()));
    }

    assert_eq!(failures[..5], [Why::Unreachable; 5]);
    assert_eq!(failures[5..], [Why::Resting; 5]);
}

#[tokio::test]
async fn a_limit_on_one_list_stops_neither_manifests_nor_other_lists() {
    let bench = impatient().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.intercept(|seen| {
        let limited = Answer::status(429).with("retry-after", "60");
        (seen.target == "/v2/app/tags/list").then_some(limited)
    });
    let list = async |repository: &str| {
        let repository = Repository::parse(repository).unwrap();
        bench.puller.tags(&bench.upstream, &repository, None).await
    };

    for _ in 0..3 {
        let limited = list("app").await;
        assert!(
            matches!(limited, Err(Error::RateLimited { .. })),
            "{limited:?}"
        );
    }

    assert_eq!(bench.registry.count("GET /v2/app/tags/list"), 1);
    assert!(bench.pull("latest").await.is_ok());
    assert!(matches!(list("lib").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn ten_thousand_repositories_that_fail_take_bounded_room() {
    use crate::upstream::{circuit_breaker::CircuitBreaker, exchange::Ask, metrics::Kind};
    let bench = impatient().await;
    let circuits = CircuitBreaker::new(bench.clock.clone());
    for number in 0..10_000 {
        let repository = Repository::parse(&format!("r{number}")).unwrap();
        let ask = Ask {
            upstream: &bench.upstream,
            repository: &repository,
            kind: Kind::Manifest,
            method: Method::GET,
            path: "manifests/latest".to_owned(),
            query: None,
            headers: http::HeaderMap::new(),
            hand_over: None,
        };
        let error = Error::Timeout {
            upstream: "hub".into(),
            place: Place::RedirectTarget,
        };
        circuits.report(&ask, Some(&error));
    }

    let kept = circuits.repositories();
    assert!((1..=4096).contains(&kept), "{kept}");
}
