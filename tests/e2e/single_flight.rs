//! Many pulls of an image that is not cached ask the upstream once.

use std::collections::BTreeSet;

use http::Method;
use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{site::Site, wait::eventually};
use tokio::task::JoinSet;

const PULLS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_pulls_ask_the_upstream_once_for_each_worker() {
    // A machine that is busy with other things is no slow upstream.
    let site = Site::start_with(2, Form::Docker, &["--upstream-timeout=10m"]).await;
    // Made before the upstream is held.
    let clients = [0, 1].map(|n| site.client(n, &site.type1));
    site.upstream.forget_requests();
    site.upstream.hold(true);

    let mut pulls = JoinSet::new();
    for n in 0..PULLS {
        let client = clients[n % 2].clone();
        pulls.spawn(async move { client.digest(REPOSITORY, "latest").await });
    }
    eventually("both workers ask the upstream", async || {
        site.upstream.requests().len() >= 2
    })
    .await;
    site.upstream.hold(false);
    let digests = pulls.join_all().await;

    let broadwell = &site.bench.images[2].manifest.digest;
    assert!(digests.iter().all(|digest| digest == broadwell));
    let gets = |end: &str| site.upstream.count(&Method::GET, end);
    assert_eq!(
        gets("/manifests/latest") + gets(&site.bench.index.digest),
        2
    );
    assert_eq!(gets(broadwell), 2);
}

/// Docker Hub counts manifest GETs, not HEADs.
#[tokio::test]
async fn pulls_of_an_image_that_does_not_change_cost_no_more_gets_than_it_has_manifests() {
    let site = Site::start_with(1, Form::Docker, &["--tag-ttl=0s"]).await;
    site.upstream.forget_requests();
    let hosts = [&site.type1, &site.type2].map(|login| site.client(0, login));

    let mut digests = BTreeSet::from([site.bench.index.digest.clone()]);
    for _ in 0..5 {
        for host in &hosts {
            let digest = host.digest(REPOSITORY, "latest").await;
            host.digest(REPOSITORY, &digest).await;
            digests.insert(digest);
        }
    }

    let gets = site.upstream.requests().into_iter();
    let gets = gets.filter(|it| it.method == Method::GET && it.path.contains("/manifests/"));
    let (gets, heads) = (gets.count(), site.upstream.count(&Method::HEAD, "/latest"));
    assert!(gets <= digests.len(), "{gets} GETs of {digests:?}");
    assert!(heads > 0, "the tag was looked at again");
}

#[cfg(feature = "real-parts")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_pulls_through_traefik_ask_a_real_registry_once_for_each_worker() {
    let cluster = metahub_tests::parts::Cluster::start().await;
    let client = cluster.client(&cluster.type1);

    let mut pulls = JoinSet::new();
    for _ in 0..PULLS {
        let client = client.clone();
        pulls.spawn(async move { client.digest(REPOSITORY, "oci").await });
    }
    let digests = pulls.join_all().await;

    let [_, _, broadwell, _] = &cluster.oci.images[..] else {
        panic!("the image has four variants");
    };
    let chosen = &broadwell.manifest.digest;
    assert!(digests.iter().all(|digest| digest == chosen));
    let gets = |reference: &str| {
        let request = format!("\"GET /v2/{REPOSITORY}/manifests/{reference} ");
        cluster.upstream.count(&[&request])
    };
    // It logs a request after it has answered it.
    let sources = || gets("oci") + gets(&cluster.oci.index.digest);
    eventually("the registry has logged all", async || {
        sources() >= 2 && gets(chosen) >= 2
    })
    .await;
    assert_eq!(sources(), 2);
    assert_eq!(gets(chosen), 2);
}
