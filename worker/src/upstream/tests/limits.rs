//! What one upstream or one login may take of a worker.

use std::iter;

use futures_util::future::join_all;

use super::*;
use crate::{
    in_flight::InFlight,
    upstream::{
        Limit,
        testing::{Answer, Ending},
    },
};

/// A puller of little patience whose upstream stalls after `bytes` bytes.
async fn stalled(settings: Settings, bytes: usize) -> Bench {
    let bench = Bench::with(settings, None).await;
    bench.registry.intercept(move |_| {
        let answer = Answer::ok(vec![b' '; bytes]).with("content-length", "4194304");
        Some(answer.ending(Ending::Stall))
    });
    bench
}

fn impatient() -> Settings {
    Settings {
        patience: Duration::from_millis(200),
        ..Settings::default()
    }
}

/// Asks for so many tags that were not asked for before, and gives up once
/// `until` returns.
async fn abandoned(bench: &Bench, tags: usize, until: impl Future<Output = ()>) {
    let names: Vec<_> = (0..tags).map(|n| format!("tag{n}")).collect();
    tokio::select! {
        answers = join_all(names.iter().map(|name| bench.pull(name))) => {
            panic!("not all requests were held: {answers:?}")
        }
        () = until => {}
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), polled).await;
    waited.expect("it is never so");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled_and_its_connection_closed() {
    let settings = Settings {
        patience: Duration::from_secs(60),
        ..Settings::default()
    };
    let bench = stalled(settings, 0).await;

    let all_are_asked = wait_until(|| bench.registry.seen().len() == 100);
    abandoned(&bench, 100, all_are_asked).await;

    // 64 go on.
    bench.registry.connections_closed(36).await;
    let in_flight = &bench.puller.metrics().in_flight;
    wait_until(|| in_flight.get() == 64).await;
}

#[tokio::test]
async fn bodies_that_stall_hold_no_more_memory_than_is_set() {
    let settings = Settings {
        small_body_memory: 16 << 20,
        ..impatient()
    };
    let bench = stalled(settings, 4 << 20).await;
    let memory = &bench.puller.metrics().small_bodies;
    let overloads = &bench.puller.metrics().overloads;

    abandoned(&bench, 8, wait_until(|| overloads.get() >= 5)).await;

    assert!(memory.get() <= 8 << 20, "{} bytes", memory.get());
}

#[tokio::test]
async fn an_upstream_that_stalls_leaves_half_of_the_requests_to_others() {
    let settings = Settings {
        requests: 10,
        ..impatient()
    };
    let bench = stalled(settings, 0).await;
    let other = Bench::new().await;
    other.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let other = Arc::new(Upstream::new("other", other.registry.url(), None, false));

    let (in_flight, answered) = (&bench.puller.metrics().in_flight, async {
        let latest = reference_of("latest");
        let pulled = bench.puller.manifest(&other, &app(), &latest).await;
        pulled.expect("the other upstream is well");
    });
    abandoned(&bench, 5, async {
        wait_until(|| in_flight.get() == 5).await;
        let refused = bench.pull("one-more").await;
        assert_eq!(refused.err(), Some(Error::Overloaded(Limit::Requests)));
        answered.await;
    })
    .await;
}

#[tokio::test]
async fn a_login_has_no_more_requests_in_flight_than_it_may() {
    let settings = Settings {
        requests_per_login: 3,
        ..impatient()
    };
    let bench = stalled(settings, 0).await;
    let login = InFlight::default();
    let held = iter::repeat_with(|| login.count(3))
        .take(3)
        .collect::<Vec<_>>();

    let refused = login.clone().scope(bench.pull("latest")).await;
    let other = InFlight::default().scope(bench.pull("other"));
    let asked = wait_until(|| bench.registry.count("GET /v2/app/manifests/other") == 1);

    assert_eq!(refused.err(), Some(Error::Overloaded(Limit::Login)));
    tokio::select! {
        answer = other => panic!("{answer:?}"),
        () = asked => {}
    }
    assert_eq!(bench.registry.count("GET /v2/app/manifests/latest"), 0);
    drop(held);
}
