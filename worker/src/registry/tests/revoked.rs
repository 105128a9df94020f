//! Blobs under way when their client loses the permission.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::stage::{Stage, by, sha256};
use crate::{
    registry::body::{Body, BodyError},
    snapshot::sample::Sample,
    upstream::testing::{Answer, Ending, Registry},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A registry that sends a part of its one blob, and then no more.
async fn upstream() -> (Registry, String) {
    let upstream = Registry::start().await;
    upstream.intercept(|_| {
        let part = Answer::ok("part").with("content-length", "9");
        Some(part.ending(Ending::Stall))
    });
    (upstream, sha256(b"the whole"))
}

/// Publishes a policy with `slow.test`, which only those with a grant may pull
/// from, and with the logins of `types`.
fn publish(stage: &Stage, upstream: &Registry, types: &[(&str, &str)], is_granted: bool) {
    let mut policy = Sample::new().restricted_upstream("slow.test", upstream.url().as_str());
    for (name, secret) in types {
        policy = policy.machine_type(name, "{}", secret);
    }
    if is_granted {
        policy = policy.grant(Some("qnib"), "slow.test/**");
    }
    stage.current.publish(Arc::new(policy.build()));
}

/// The body of the blob for a host, of which the first part has come.
async fn begun(stage: &Stage, kind: &str, digest: &str) -> Body {
    let path = format!("/v2/slow.test/app/blobs/{digest}");
    let (mut parts, ()) = by(kind, "GET", &path).body(()).unwrap().into_parts();
    let here = HeaderValue::from_static("worker.test");
    parts.headers.insert(header::HOST, here);
    let answer = stage.registry.answer(parts).await;
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, Bytes::from_static(b"part"));
    body
}

async fn ends_by_revocation(body: &mut Body) -> bool {
    let next = timeout(PATIENCE, body.frame()).await.expect("it ends");
    matches!(next, Some(Err(BodyError::Revoked)))
}

#[tokio::test]
async fn a_blob_breaks_off_when_its_login_or_its_secret_or_its_grant_is_gone() {
    const BOTH: [(&str, &str); 2] = [("a", "secret"), ("b", "secret")];
    for (types, is_granted) in [
        (&[("b", "secret")][..], true),
        (&[("a", "another"), ("b", "secret")], true),
        (&BOTH, false),
    ] {
        let (stage, (upstream, digest)) = (Stage::new().await, upstream().await);
        publish(&stage, &upstream, &BOTH, true);
        let mut body = begun(&stage, "a", &digest).await;
        assert!(!says_something(&mut body).await);

        publish(&stage, &upstream, types, is_granted);

        assert!(ends_by_revocation(&mut body).await, "{types:?}");
        assert!(body.is_end_stream(), "nothing is read any more");
    }
}

#[tokio::test]
async fn a_blob_goes_on_for_a_login_that_a_change_does_not_touch() {
    let (stage, (upstream, digest)) = (Stage::new().await, upstream().await);
    publish(&stage, &upstream, &[("a", "secret"), ("b", "secret")], true);
    let mut staying = begun(&stage, "a", &digest).await;
    let mut leaving = begun(&stage, "b", &digest).await;

    publish(&stage, &upstream, &[("a", "secret")], true);

    assert!(ends_by_revocation(&mut leaving).await);
    assert!(!says_something(&mut staying).await);
}

/// Whether the body has something to say now.
async fn says_something(body: &mut Body) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx).is_ready())).await
}
