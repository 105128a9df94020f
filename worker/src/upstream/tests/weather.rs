//! Upstreams that are unwell.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

use super::*;
use crate::upstream::{
    Why,
    testing::{Answer, Ending},
};

async fn with_a_tag_in_memory() -> Bench {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.pull("latest").await.unwrap();
    bench.expire();
    bench
}

#[tokio::test]
async fn a_tag_in_memory_outlives_every_kind_of_weather() {
    for status in [429, 500, 502, 503, 504] {
        let bench = with_a_tag_in_memory().await;
        bench
            .registry
            .intercept(move |_| Some(Answer::status(status)));

        let pulled = bench.pull("latest").await.unwrap();

        let stale = pulled.stale.as_ref().unwrap();
        assert_eq!(pulled.bytes, EMPTY_INDEX);
        assert_eq!(
            matches!(stale.why, Error::RateLimited { .. }),
            status == 429
        );
        assert_eq!(bench.puller.metrics().stale_served.get(), 1);
    }
}

#[tokio::test]
async fn a_refused_connection_is_weather_too() {
    let mut bench = with_a_tag_in_memory().await;
    bench.registry = Registry::start().await;

    let pulled = bench.pull("latest").await.unwrap();

    let why = &pulled.stale.as_ref().unwrap().why;
    assert!(
        matches!(
            why,
            Error::Unavailable {
                why: Why::Unreachable | Why::Broken,
                ..
            }
        ),
        "{why:?}"
    );
}

/// A host that has taken as many connections as it takes, so that it answers
/// no more of them.
async fn full_host() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = Vec::new();
    let a_moment = Duration::from_secs(2);
    while let Ok(connected) = timeout(a_moment, TcpStream::connect(address)).await {
        connections.push(connected.unwrap());
    }
    (listener, connections)
}

#[tokio::test]
async fn a_host_that_takes_no_connection_is_not_waited_for_as_for_an_answer() {
    let settings = Settings {
        connect_timeout: Duration::from_millis(200),
        header_timeout: Duration::from_secs(600),
        patience: Duration::ZERO,
        ..Settings::default()
    };
    let mut bench = Bench::with(settings, None).await;
    let (listener, _connections) = full_host().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    bench.upstream = Arc::new(Upstream::new("full", url.parse().unwrap(), None, true));

    let pulled = timeout(Duration::from_secs(20), bench.pull("latest")).await;

    let error = pulled.expect("it is given up").unwrap_err();
    assert!(error.is_weather(), "{error:?}");
}

#[tokio::test]
async fn a_silent_upstream_holds_up_a_tag_in_memory_no_longer_than_patience() {
    let bench = with_a_tag_in_memory().await;
    // No digest in the HEAD, so that the GET is waited for.
    bench.registry.intercept(|seen| {
        Some(match seen.method.as_str() {
            "HEAD" => Answer::status(200),
            _ => Answer::ok("x")
                .with("content-length", "2")
                .ending(Ending::Stall),
        })
    });

    let pulled = bench.pull("latest").await.unwrap();

    assert!(pulled.stale.is_some());
}

#[tokio::test]
async fn stale_content_is_served_without_asking_again_at_once() {
    let bench = with_a_tag_in_memory().await;
    bench.registry.intercept(|_| Some(Answer::status(503)));
    bench.pull("latest").await.unwrap();
    let asked = bench.registry.seen().len();

    let again = bench.fresh("latest").unwrap();

    assert!(again.stale.is_some());
    assert_eq!(bench.registry.seen().len(), asked);
}

#[tokio::test]
async fn good_weather_makes_a_stale_tag_fresh_again() {
    let bench = with_a_tag_in_memory().await;
    bench.registry.intercept(|_| Some(Answer::status(503)));
    bench.pull("latest").await.unwrap();
    bench.registry.behave();

    bench.expire();

    assert!(bench.pull("latest").await.unwrap().stale.is_none());
}

#[tokio::test]
async fn permission_is_not_stale_data() {
    for status in [401, 403] {
        let bench = with_a_tag_in_memory().await;
        bench
            .registry
            .intercept(move |_| Some(Answer::status(status)));

        let denied = bench.pull("latest").await;

        assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
        assert!(bench.fresh("latest").is_none());
    }
}

#[tokio::test]
async fn an_uncached_tag_is_waited_for_when_the_upstream_recovers_soon() {
    let bench = Bench::patient().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let asked = AtomicUsize::new(0);
    bench.registry.intercept(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| Answer::status(503))
    });

    let pulled = bench.pull("latest").await;

    assert!(pulled.is_ok(), "{pulled:?}");
    assert_eq!(bench.gets(), 2);
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_asked_for_again() {
    let bench = Bench::patient().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let asked = AtomicUsize::new(0);
    bench.registry.intercept(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let half = Answer::ok(&EMPTY_INDEX.as_bytes()[..9]).with("content-length", "34");
        is_first.then(|| half.ending(Ending::Cut))
    });

    assert_eq!(bench.pull("latest").await.unwrap().bytes, EMPTY_INDEX);
}

#[tokio::test]
async fn an_uncached_tag_of_an_upstream_that_stays_down_is_unavailable() {
    let bench = Bench::new().await;
    bench
        .registry
        .intercept(|_| Some(Answer::status(503).with("retry-after", "7")));

    let error = bench.pull("latest").await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_limit_that_lasts_longer_than_patience_is_reported_and_kept_to() {
    let bench = Bench::new().await;
    bench
        .registry
        .intercept(|_| Some(Answer::status(429).with("retry-after", "120")));

    for tag in ["one", "two", "three"] {
        let error = bench.pull(tag).await.unwrap_err();
        let left = error.retry_after().unwrap();
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
        assert!(left > Duration::from_secs(110), "{left:?}");
    }

    assert_eq!(bench.gets(), 1);
}

#[tokio::test]
async fn at_the_end_of_a_quota_tags_in_memory_are_not_asked_for() {
    let bench = Bench::new().await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    bench.registry.intercept(|_| {
        let answer = Answer::ok(EMPTY_INDEX);
        Some(answer.with("ratelimit-remaining", "2;w=21600"))
    });
    bench.pull("latest").await.unwrap();

    bench.expire();

    assert!(bench.pull("latest").await.unwrap().stale.is_some());
    assert_eq!(bench.heads(), 0);
}

#[tokio::test]
async fn errors_name_the_upstream_and_hold_no_address() {
    let bench = Bench::new().await;
    bench.registry.intercept(|_| Some(Answer::status(502)));

    let text = bench.pull("latest").await.unwrap_err().to_string();

    assert_eq!(text, "hub is not available: it answers 502 Bad Gateway");
}

#[tokio::test]
async fn an_upstream_is_asked_no_more_often_than_the_operator_allows() {
    let settings = Settings {
        requests_per_second: std::num::NonZeroU32::new(2),
        patience: Duration::ZERO,
        ..Settings::default()
    };
    let bench = Bench::with(settings, None).await;
    let tags = ["a", "b", "c"];
    for tag in tags {
        bench.registry.put_manifest("app", tag, EMPTY_INDEX);
    }

    let mut refused = Vec::new();
    for tag in tags {
        refused.extend(bench.pull(tag).await.err());
    }

    assert!(
        matches!(refused[..], [Error::RateLimited { .. }]),
        "{refused:?}"
    );
    assert_eq!(bench.registry.seen().len(), 2);
}
