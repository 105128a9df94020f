//! Registries that hide private repositories from requests without a pass:
//! only `/v2/` asks for one.

use http::{Method, header};

use super::*;
use crate::upstream::{
    BlobRequest,
    testing::{Answer, Seen},
};

/// Base64 of `robot:hunter2`.
const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";

/// A registry that answers `status` to whatever comes without a pass, and
/// `/v2/` with `challenge`.
async fn hiding(status: u16, challenge: impl Fn(&Registry) -> Option<String>) -> Bench {
    let bench = Bench::with_password(Some("hunter2")).await;
    bench.registry.put_manifest("app", "latest", EMPTY_INDEX);
    let challenge = challenge(&bench.registry);
    bench.registry.intercept(move |seen| {
        let pass = seen.header(header::AUTHORIZATION);
        match (&*seen.target, &challenge) {
            (target, _) if target.starts_with("/token") => Some(token(seen)),
            _ if pass == BASIC || pass == "Bearer good" => None,
            ("/v2/", Some(challenge)) => {
                Some(Answer::status(401).with("www-authenticate", challenge))
            }
            ("/v2/", None) => Some(Answer::ok("{}")),
            _ => Some(Answer::status(status)),
        }
    });
    bench
}

/// Good for the repository `app` only.
fn token(seen: &Seen) -> Answer {
    let form = str::from_utf8(&seen.body).unwrap();
    let is_good = form.contains("scope=repository%3Aapp%3Apull");
    Answer::ok(format!(
        r#"{{"token":"{}"}}"#,
        if is_good { "good" } else { "bad" }
    ))
}

fn bearer(registry: &Registry) -> Option<String> {
    let realm = registry.url().join("/token").unwrap();
    // ghcr.io names this very scope at `/v2/`, as an example.
    let scope = "repository:user/image:pull";
    Some(format!(
        r#"Bearer realm="{realm}",service="s",scope="{scope}""#
    ))
}

#[tokio::test]
async fn with_a_credential_a_404_or_403_to_a_request_without_one_is_not_believed() {
    let challenges: [fn(&Registry) -> Option<String>; 3] =
        [bearer, |_| Some("Basic realm=/".to_owned()), |_| None];
    for status in [401, 403, 404] {
        for challenge in challenges {
            let bench = hiding(status, challenge).await;

            let pulled = bench.pull("latest").await;

            assert!(pulled.is_ok(), "{status}: {pulled:?}");
        }
    }
}

#[tokio::test]
async fn what_v2_asks_for_is_learned_once_and_for_hidden_repositories_only() {
    let bench = hiding(404, bearer).await;
    bench.pull("latest").await.unwrap();
    let gone = bench.pull("gone").await;
    let lib = Repository::parse("lib").unwrap();

    let missing = bench
        .puller
        .manifest(&bench.upstream, &lib, &reference_of("latest"))
        .await;

    for missing in [gone, missing] {
        assert!(
            matches!(missing, Err(Error::NotFound { .. })),
            "{missing:?}"
        );
    }
    let seen = bench.registry.seen();
    let asked = |target: &str| seen.iter().filter(|seen| seen.target == target).count();
    assert_eq!(asked("/v2/"), 1);
    assert_eq!(asked("/v2/app/manifests/gone"), 1);
    let first = seen.iter().find(|seen| seen.target.contains("/lib/"));
    assert_eq!(first.unwrap().header(header::AUTHORIZATION), "");
}

#[tokio::test]
async fn blobs_and_lists_are_hidden_the_same_way() {
    let bench = hiding(404, bearer).await;
    let digest = bench.registry.put_blob("app", "abc");
    let request = BlobRequest {
        repository: &app(),
        digest: &digest,
        method: &Method::HEAD,
        range: None,
        if_range: None,
        host: None,
    };

    let blob = bench.puller.blob(&bench.upstream, request).await;

    assert!(blob.is_ok(), "{blob:?}");
    let tags = hiding(404, bearer).await;
    let listed = tags.puller.tags(&tags.upstream, &app(), None).await;
    // The registry of the tests has no lists: asked with a pass, it says so.
    assert!(matches!(listed, Err(Error::NotFound { .. })), "{listed:?}");
    let seen = tags.registry.seen();
    assert_eq!(
        seen.last().unwrap().header(header::AUTHORIZATION),
        "Bearer good"
    );
}

#[tokio::test]
async fn a_page_to_sign_in_at_is_not_believed_either() {
    let bench = hiding(404, bearer).await;
    let door = Registry::start_at("127.0.0.2").await;
    door.intercept(|_| Some(Answer::ok("<html>").with("content-type", "text/html")));
    let location = door.url();
    bench.registry.intercept(move |seen| {
        let pass = seen.header(header::AUTHORIZATION);
        let sign_in = Answer::status(302).with("location", location.as_str());
        let challenge = Answer::status(401).with("www-authenticate", "Basic");
        match &*seen.target {
            "/v2/" => Some(challenge),
            _ => (pass != BASIC).then_some(sign_in),
        }
    });

    let pulled = bench.pull("latest").await;

    assert!(pulled.is_ok(), "{pulled:?}");
    for seen in door.seen() {
        assert_eq!(seen.header(header::AUTHORIZATION), "");
    }
}

#[tokio::test]
async fn without_a_credential_nothing_is_asked_at_v2() {
    let mut bench = hiding(404, bearer).await;
    bench.upstream = upstream(&bench.registry, None);

    let missing = bench.pull("latest").await;

    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
    assert_eq!(bench.registry.seen().len(), 1);
}

#[tokio::test]
async fn while_v2_cannot_be_asked_nothing_counts_as_missing() {
    let bench = hiding(404, bearer).await;
    bench.registry.intercept(|seen| {
        let status = if seen.target == "/v2/" { 503 } else { 404 };
        Some(Answer::status(status))
    });

    let error = bench.pull("latest").await.unwrap_err();

    assert!(error.is_weather(), "{error:?}");
}
