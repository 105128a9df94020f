//! What an admin has purged is asked for again.

use std::{sync::Arc, time::Duration};

use super::stage::{Stage, sha256};
use crate::{
    purge::Purge,
    reference::{Digest, Repository},
    snapshot::Record,
};

const LATEST: &str = "/v2/qnib/app/manifests/latest";

fn purge(upstream: &str, repository: &str, digest: &str) -> Purge {
    Purge {
        upstream: (!upstream.is_empty()).then(|| upstream.into()),
        repository: Repository::parse(repository),
        digest: Digest::parse(digest),
    }
}

fn publish(stage: &Stage, purges: &[Purge]) {
    stage.publish(|policy| {
        let named = purges.iter().enumerate();
        named.fold(policy, |policy, (n, purge)| {
            policy.with(
                "purge",
                &n.to_string(),
                Record::Purge(Arc::new(purge.clone())),
            )
        })
    });
}

/// How often the upstream is asked for the index of `latest` by its digest,
/// before and after the purge.
async fn asked(purge: Purge) -> (usize, usize) {
    let stage = Stage::new().await;
    let path = format!("/v2/qnib/app/manifests/{}", stage.index);
    stage.get("skylake", &path).await;
    stage.get("skylake", &path).await;
    let before = stage.asked_for(&stage.index);

    publish(&stage, &[purge]);

    assert_eq!(stage.get("skylake", &path).await.status, 200);
    (before, stage.asked_for(&stage.index))
}

#[tokio::test]
async fn purged_content_is_asked_for_again_and_other_content_is_not() {
    let index = Stage::new().await.index;
    let other = sha256(b"other");
    for (purge, asked_after) in [
        (purge("", "", &index), 2),
        (purge("here.test", "", &index), 2),
        (purge("here.test", "qnib/app", ""), 2),
        (purge("here.test", "qnib/app", &index), 2),
        (purge("here.test", "qnib/other", ""), 1),
        (purge("here.test", "qnib/app", &other), 1),
        (purge("other.test", "", &index), 1),
    ] {
        let text = format!("{purge:?}");
        assert_eq!(asked(purge).await, (1, asked_after), "{text}");
    }
}

#[tokio::test]
async fn a_purge_is_carried_out_once() {
    let stage = Stage::new().await;
    let purge = purge("", "", &stage.index);
    for _ in 0..3 {
        publish(&stage, std::slice::from_ref(&purge));
        stage.get("skylake", LATEST).await;
    }

    assert_eq!(stage.asked_for("latest"), 1);
}

#[tokio::test]
async fn what_was_chosen_from_a_purged_index_is_chosen_anew() {
    let stage = Stage::new().await;
    stage.get("skylake", LATEST).await;
    let image = stage.images["skylake"].clone();

    publish(&stage, &[purge("", "", &stage.index)]);

    assert_eq!(stage.get("skylake", LATEST).await.digest(), image);
    assert_eq!(stage.asked_for("latest"), 2);
    assert_eq!(stage.asked_for(&image), 1);
}

#[tokio::test]
async fn a_purged_repositorys_lists_no_longer_stand_in_for_an_upstream_that_is_down() {
    let mut stage = Stage::new().await;
    let tags = "/v2/qnib/app/tags/list";
    assert_eq!(stage.get("skylake", tags).await.status, 200);
    stage.stop_upstream();
    // A connection that was open may bring another answer yet.
    let stale = async {
        while !stage
            .get("skylake", tags)
            .await
            .headers
            .contains_key("warning")
        {
            tokio::task::yield_now().await;
        }
    };
    let stale = tokio::time::timeout(Duration::from_secs(20), stale);
    stale.await.expect("the list stands in");

    publish(&stage, &[purge("here.test", "qnib/app", "")]);

    assert_eq!(stage.get("skylake", tags).await.status, 503);
}
