//! What a worker's stream promises.

use metahub_control::Declaration;
use metahub_policy::StateDigest;
use metahub_proto::{
    admin::v1::{DeleteLoginRequest, ListUpstreamsRequest, PutUpstreamRequest, RotateLoginRequest},
    policy::v1::{
        Blobs, FindRecipeRequest, Heartbeat, Recipe, Record, RecordRecipeRequest, Revision,
        Upstream, control_message::Message as Told, record::Value, worker_message::Message as Said,
    },
};
use prost::Message as _;
use tonic::Code;

use crate::plane::{Plane, in_time};

/// The default upstream, and the signing key that a new control plane makes.
const MADE_AT_START: usize = 2;

/// So many types, each with so many features of 100 bytes.
fn declaration(types: usize, features: usize) -> Declaration {
    let feature = |i| format!("site:{i:0>95}");
    let types: Vec<_> = (0..types)
        .map(|i| {
            serde_json::json!({
                "name": format!("type{i}"),
                "secret": "s",
                "features": (0..features).map(feature).collect::<Vec<_>>(),
            })
        })
        .collect();
    let file = serde_json::json!({"users": [{"name": "qnib", "types": types}]});
    serde_json::from_value(file).unwrap()
}

#[tokio::test]
async fn a_type_created_later_reaches_a_connected_worker() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let mut follower = plane.follow("w1", None).await;
    let snapshot = follower.snapshot().await;
    let keys = snapshot.keys();
    assert_eq!((keys.len(), keys[0]), (2, "upstream/docker.io"));
    assert!(keys[1].starts_with("signing-key/"));

    let login = plane.create_type("qnib", "type1").await;

    let (change, delta) = follower.change().await;
    assert_eq!(change.base, Some(snapshot.revision));
    let keys: Vec<&str> = delta.put.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["type/qnib/type1", "login/qnib-type1"]);
    let Some(Value::Login(pushed)) = &delta.put[1].value else {
        panic!("a login was expected");
    };
    assert_eq!(pushed.name, login.name);
    assert_eq!(pushed.secret_sha256.len(), 32);
}

#[tokio::test]
async fn a_deleted_login_is_gone_from_the_worker_in_one_change() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let login = plane.create_type("qnib", "type1").await;
    let mut follower = plane.follow("w1", None).await;
    follower.snapshot().await;

    let mut admin = plane.admin().await;
    let request = DeleteLoginRequest { name: login.name };
    admin.delete_login(request).await.unwrap();

    let (_, delta) = follower.change().await;
    assert_eq!(delta.deleted, ["login/qnib-type1"]);
    assert_eq!(delta.put, []);
}

#[tokio::test]
async fn a_worker_that_holds_the_revision_gets_only_what_changes_then() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let held = plane.follow("w1", None).await.snapshot().await.revision;

    let mut again = plane.follow("w1", Some(held)).await;
    plane.create_type("qnib", "type1").await;

    let (change, _) = again.change().await;
    assert_eq!(change.base, Some(held));
}

#[tokio::test]
async fn a_worker_of_another_history_gets_everything() {
    let plane = Plane::start().await;
    let held = plane.follow("w1", None).await.snapshot().await.revision;

    let other = Revision {
        epoch: held.epoch ^ 1,
        ..held
    };
    let snapshot = plane.follow("w1", Some(other)).await.snapshot().await;

    assert_eq!(snapshot.revision, held);
}

/// Another control plane over the same store has told it of more.
#[tokio::test]
async fn a_worker_that_is_ahead_is_not_sent_back() {
    let plane = Plane::start().await;
    let held = plane.follow("w1", None).await.snapshot().await.revision;
    let ahead = Revision {
        number: held.number + 1,
        ..held
    };

    let mut follower = plane.follow("w1", Some(ahead)).await;
    plane.until_worker(|it| it.applied == Some(ahead)).await;
    plane.create_user("qnib").await;
    plane.create_user("moby").await;

    let (change, _) = follower.change().await;
    assert_eq!(change.base, Some(ahead));
}

#[tokio::test]
async fn a_worker_that_stays_ahead_gets_everything() {
    let plane = Plane::start().await;
    let held = plane.follow("w1", None).await.snapshot().await.revision;
    let lost = Revision {
        number: held.number + 1,
        ..held
    };

    let mut follower = plane.follow("w1", Some(lost)).await;

    assert_eq!(follower.snapshot().await.revision, held);
}

#[tokio::test]
async fn a_large_state_comes_whole_in_chunks_of_at_most_one_mib() {
    let plane = Plane::start().await;
    let applied = plane.catalog.apply(declaration(3_000, 10)).await;
    applied.unwrap();

    let snapshot = plane.follow("w1", None).await.snapshot().await;

    assert!(snapshot.chunk_sizes.iter().sum::<usize>() > 3 << 20);
    assert!(snapshot.chunk_sizes.iter().all(|size| *size <= 1 << 20));
    assert_eq!(snapshot.records.len(), 2 * 3_000 + MADE_AT_START);
}

#[tokio::test]
async fn a_change_larger_than_one_mib_comes_as_a_snapshot() {
    let plane = Plane::start().await;
    let mut follower = plane.follow("w1", None).await;
    follower.snapshot().await;

    let applied = plane.catalog.apply(declaration(2_000, 10)).await;
    applied.unwrap();

    let snapshot = follower.snapshot().await;
    assert_eq!(snapshot.records.len(), 2 * 2_000 + MADE_AT_START);
}

#[tokio::test]
async fn a_slow_worker_gets_the_newest_state_and_not_each_one_between() {
    let plane = Plane::start().await;
    let mut follower = plane.follow("w1", None).await;
    follower.snapshot().await;

    // Each is as large as what a stream buffers for one that does not read.
    let commits = 40;
    for i in 1..=commits {
        let applied = plane.catalog.apply(declaration(20, 100 + i)).await;
        applied.unwrap();
        follower.say(Said::Heartbeat(Heartbeat::default())).await;
    }

    let newest = plane.catalog.revision().number;
    let mut seen = 0;
    loop {
        seen += 1;
        let reached = match follower.next().await.unwrap().unwrap() {
            Told::Change(change) => change.revision,
            Told::SnapshotCommit(commit) => commit.revision,
            _ => {
                seen -= 1;
                continue;
            }
        };
        if reached.unwrap().number == newest {
            break;
        }
    }
    assert!(seen < commits, "{seen} steps for {commits} commits");
}

#[tokio::test]
async fn the_first_word_must_be_a_hello_with_a_name() {
    let plane = Plane::start().await;

    let beat = Said::Heartbeat(Heartbeat::default());
    let mut no_hello = plane.follow_saying(beat).await;
    let mut no_name = plane.follow("", None).await;

    for follower in [&mut no_hello, &mut no_name] {
        let status = follower.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn the_list_tells_what_each_worker_serves_and_when_it_is_lost() {
    let plane = Plane::start().await;
    let mut follower = plane.follow("w1", None).await;
    let revision = follower.snapshot().await.revision;
    plane
        .until_worker(|it| it.connected && it.applied.is_none())
        .await;

    follower.applied(revision).await;
    plane
        .until_worker(|it| it.applied == Some(revision) && it.lag_ms == 0)
        .await;
    plane.create_user("qnib").await;
    plane.until_worker(|it| it.lag_ms > 0).await;

    drop(follower);
    plane.until_worker(|it| !it.connected).await;
}

#[tokio::test]
async fn after_a_rejection_the_next_change_starts_from_what_the_worker_serves() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let mut follower = plane.follow("w1", None).await;
    let served = follower.snapshot().await.revision;
    follower.applied(served).await;
    plane.create_type("qnib", "type1").await;
    let (bad, _) = follower.change().await;

    follower
        .rejected(bad.revision.unwrap(), "no such thing")
        .await;
    plane
        .until_worker(|it| it.rejected_reason == "no such thing")
        .await;
    plane.create_type("qnib", "type2").await;

    let (next, delta) = follower.change().await;
    assert_eq!(next.base, Some(served));
    assert_eq!(delta.put.len(), 4);
}

/// The digest of `records`, as a worker sums it up.
fn digest_of(records: &[Record]) -> Vec<u8> {
    let mut digest = StateDigest::default();
    for record in records {
        digest += StateDigest::of(&record.encode_to_vec());
    }
    digest.to_bytes().into()
}

#[tokio::test]
async fn snapshots_and_changes_carry_the_digest_of_what_they_lead_to() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let login = plane.create_type("qnib", "type1").await;
    let mut follower = plane.follow("w1", None).await;
    let snapshot = follower.snapshot().await;

    let mut admin = plane.admin().await;
    let request = DeleteLoginRequest {
        name: login.name.clone(),
    };
    admin.delete_login(request).await.unwrap();
    let (change, _) = follower.change().await;

    assert_eq!(snapshot.digest, digest_of(&snapshot.records));
    let mut left = snapshot.records;
    left.retain(|record| record.key != format!("login/{}", login.name));
    assert_eq!(change.digest, digest_of(&left));
}

#[tokio::test]
async fn a_worker_whose_hello_tells_another_digest_gets_everything() {
    let plane = Plane::start().await;
    let snapshot = plane.follow("w1", None).await.snapshot().await;
    let (held, digest) = (snapshot.revision, snapshot.digest);

    let mut differs = plane.follow_holding("w0", held, vec![7; 32].into()).await;
    let healed = differs.snapshot().await;
    let mut equal = plane.follow_holding("w3", held, digest.clone()).await;
    plane.create_user("qnib").await;

    assert_eq!(healed.digest, digest);
    plane
        .until_worker(|it| it.id == "w0" && it.mismatches == 1 && it.mismatch.contains("0707"))
        .await;
    differs.applied(held).await;
    plane
        .until_worker(|it| it.id == "w0" && it.mismatches == 1 && it.mismatch.is_empty())
        .await;
    let (change, _) = equal.change().await;
    assert_eq!(change.base, Some(held));
}

#[tokio::test]
async fn a_worker_whose_heartbeat_tells_another_digest_gets_everything() {
    let plane = Plane::start().await;
    let mut follower = plane.follow("w1", None).await;
    let snapshot = follower.snapshot().await;
    follower.applied(snapshot.revision).await;

    follower.holds(snapshot.revision, vec![7; 32].into()).await;

    let again = follower.snapshot().await;
    assert_eq!(again.revision, snapshot.revision);
    plane.until_worker(|it| it.mismatches == 1).await;
}

#[tokio::test]
async fn a_worker_waits_for_a_snapshot_while_as_many_as_allowed_are_sent() {
    let plane = Plane::start_with(&["--max-snapshots=1"]).await;
    // More than a connection buffers for one that does not read.
    let applied = plane.catalog.apply(declaration(4_000, 20)).await;
    applied.unwrap();
    let mut slow = plane.follow("slow", None).await;
    let Told::SnapshotBegin(begin) = slow.next().await.unwrap().unwrap() else {
        panic!("a snapshot was expected");
    };

    let mut waiting = plane.follow("waiting", None).await;
    for _ in 0..2 {
        let heard = waiting.next_even_heartbeat().await.unwrap();
        assert_eq!(heard, Some(Told::Heartbeat(Heartbeat::default())));
        // Whoever says nothing for seconds is taken for lost.
        for follower in [&slow, &waiting] {
            follower.say(Said::Heartbeat(Heartbeat::default())).await;
        }
    }
    let held = begin.revision.unwrap();
    let mut current = plane.follow("current", Some(held)).await;
    plane.create_user("moby").await;

    let (change, _) = current.change().await;
    assert_eq!(change.base, Some(held));
    drop(slow);
    let snapshot = waiting.snapshot().await;
    assert_eq!(Some(snapshot.revision), change.revision);
}

#[tokio::test]
async fn a_stream_ends_when_it_has_become_too_old() {
    let plane = Plane::start_with(&["--max-stream-age=100ms"]).await;
    let mut follower = plane.follow("w1", None).await;
    follower.snapshot().await;

    assert_eq!(follower.next().await.unwrap(), None);
}

#[tokio::test]
async fn workers_get_an_upstreams_secrets_and_admins_do_not() {
    let client = rcgen::generate_simple_self_signed(["worker".to_owned()]).unwrap();
    let plane = Plane::start().await;
    let mut admin = plane.admin().await;
    let upstream = Upstream {
        name: "ghcr.io".into(),
        url: "https://ghcr.io".into(),
        is_default: false,
        username: "robot".into(),
        password: "hunter2".into(),
        restricted: true,
        insecure: true,
        ca_pem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
        blobs: Blobs::Redirect.into(),
        hosts: vec!["ghcr.mirror.test".into()],
        http1: true,
        fallback_urls: vec!["https://second.ghcr.io".into()],
        proxy: "http://robot@proxy.test:3128".into(),
        proxy_password: "hunter3".into(),
        repository_prefix: "hub".into(),
        token_hosts: vec!["token.test:5001".into()],
        client_cert_pem: client.cert.pem(),
        client_key_pem: client.signing_key.serialize_pem(),
    };
    let request = PutUpstreamRequest {
        upstream: Some(upstream.clone()),
    };
    admin.put_upstream(request).await.unwrap();

    let listed = admin.list_upstreams(ListUpstreamsRequest {}).await;
    let snapshot = plane.follow("w1", None).await.snapshot().await;

    let listed = listed.unwrap().into_inner().upstreams;
    assert_eq!(listed[1].username, "robot");
    assert_eq!(listed[1].token_hosts, upstream.token_hosts);
    let secrets = [
        &listed[1].password,
        &listed[1].proxy_password,
        &listed[1].client_key_pem,
    ];
    assert_eq!(secrets, [""; 3]);
    assert_eq!(snapshot.records[1].value, Some(Value::Upstream(upstream)));
}

#[tokio::test]
async fn a_recipe_that_one_worker_records_reaches_another_and_can_be_found() {
    let plane = Plane::start().await;
    let mut other = plane.follow("w2", None).await;
    other.snapshot().await;
    let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let recipe = Recipe {
        digest: digest("aa"),
        upstream: "docker.io".into(),
        repository: "qnib/bench".into(),
        source_digest: digest("bb"),
        kept: Vec::new(),
        kept_places: vec![2],
        user: "qnib".into(),
        last_used_unix_secs: 0,
    };

    let mut worker = plane.worker().await;
    let request = RecordRecipeRequest {
        recipe: Some(recipe),
    };
    worker.record_recipe(request).await.unwrap();

    let (_, delta) = other.change().await;
    let key = format!("recipe/{}/docker.io/qnib/bench", digest("aa"));
    assert_eq!(delta.put[0].key, key);
    let known = FindRecipeRequest {
        digest: digest("aa"),
        upstream: "docker.io".into(),
        repository: "qnib/bench".into(),
    };
    assert!(worker.find_recipe(known.clone()).await.is_ok());
    let elsewhere = FindRecipeRequest {
        repository: "qnib/other".into(),
        ..known
    };
    let status = worker.find_recipe(elsewhere).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_stop_ends_open_streams_at_once() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let login = plane.create_type("qnib", "type1").await;
    let mut admin = plane.admin().await;
    let name = login.name;
    admin
        .rotate_login(RotateLoginRequest { name })
        .await
        .unwrap();
    let mut follower = plane.follow("w1", None).await;
    follower.snapshot().await;

    let stopped = tokio::spawn(plane.stop());

    let end = follower.next().await;
    assert!(matches!(end, Ok(None)), "{end:?}");
    drop((admin, follower));
    in_time(stopped).await.unwrap();
}
