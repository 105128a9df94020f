//! The token flow and its quirks.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use http::header;

use super::*;
use crate::upstream::testing::{Answer, Seen};

/// Base64 of `robot:hunter2`.
const BASIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";

fn token_request(seen: &Seen) -> bool {
    seen.target.starts_with("/token")
}

fn tokens_asked_for(bench: &Bench) -> usize {
    bench
        .registry
        .seen()
        .iter()
        .filter(|seen| token_request(seen))
        .count()
}

fn bearer(seen: &Seen) -> &str {
    seen.header(header::AUTHORIZATION)
        .strip_prefix("Bearer ")
        .unwrap_or_default()
}

/// A registry that hands out the tokens t0, t1, … at `/token`, and takes those
/// that `is_good` likes.
fn guard(registry: &Registry, is_good: impl Fn(&str) -> bool + Send + 'static) {
    let realm = registry.url().join("/token").unwrap();
    let issued = AtomicUsize::new(0);
    registry.intercept(move |seen| {
        if token_request(seen) {
            let number = issued.fetch_add(1, Ordering::Relaxed);
            let body = format!(r#"{{"token":"t{number}","expires_in":100}}"#);
            return Some(Answer::ok(body));
        }
        let challenge =
            format!(r#"Bearer realm="{realm}",service="r",scope="repository:app:pull""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        (!is_good(bearer(seen))).then_some(refused)
    });
}

async fn guarded(is_good: impl Fn(&str) -> bool + Send + 'static) -> Bench {
    let bench = Bench::with_password(Some("hunter2")).await;
    for tag in ["latest", "other"] {
        bench.registry.put_manifest("app", tag, EMPTY_INDEX);
    }
    guard(&bench.registry, is_good);
    bench
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credential_in_a_form_and_used_without_it() {
    let bench = guarded(|token| token == "t0").await;

    bench.pull("latest").await.unwrap();

    let seen = bench.registry.seen();
    let tokens: Vec<_> = seen.iter().filter(|seen| token_request(seen)).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        (tokens[0].method.as_str(), &*tokens[0].target),
        ("POST", "/token")
    );
    assert_eq!(
        tokens[0].body,
        "grant_type=password&username=robot&password=hunter2&service=r&client_id=metahub\
         &scope=repository%3Aapp%3Apull"
    );
    for seen in seen.iter() {
        assert_ne!(seen.header(header::AUTHORIZATION), BASIC);
    }
}

#[tokio::test]
async fn a_server_that_takes_no_form_is_asked_in_the_url_and_that_is_remembered() {
    for status in [400, 401, 404, 405] {
        let bench = guarded(|token| !token.is_empty()).await;
        let realm = bench.registry.url().join("/token").unwrap();
        bench
            .registry
            .intercept(move |seen| match seen.method.as_str() {
                "POST" => Some(Answer::status(status)),
                _ if token_request(seen) => Some(Answer::ok(r#"{"token":"t"}"#)),
                _ => {
                    let challenge = format!(r#"Bearer realm="{realm}",service="r""#);
                    let refused = Answer::status(401).with("www-authenticate", &challenge);
                    bearer(seen).is_empty().then_some(refused)
                }
            });

        bench.pull("latest").await.unwrap();
        bench.clock.advance(Duration::from_secs(100));
        bench.pull("other").await.unwrap();

        assert_eq!(bench.registry.count("POST /token"), 1, "{status}");
        let seen = bench.registry.seen();
        let mut asked = seen
            .iter()
            .filter(|seen| seen.target.starts_with("/token?"));
        let asked = asked.next().unwrap();
        assert_eq!(
            asked.target,
            "/token?service=r&scope=repository%3Aapp%3Apull&account=robot"
        );
        assert_eq!(asked.header(header::AUTHORIZATION), BASIC);
    }
}

/// An upstream whose account is an identity token.
fn with_identity_token(registry: &Registry) -> Arc<Upstream> {
    let credential = Credential {
        username: "<token>".into(),
        password: "identity".into(),
    };
    Arc::new(Upstream::new("hub", registry.url(), Some(credential), true))
}

#[tokio::test]
async fn an_identity_token_is_redeemed_by_form() {
    let mut bench = guarded(|token| token == "t0").await;
    bench.upstream = with_identity_token(&bench.registry);

    bench.pull("latest").await.unwrap();

    let seen = bench.registry.seen();
    let asked = seen.iter().find(|seen| token_request(seen)).unwrap();
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&refresh_token=identity&service=r&client_id=metahub\
         &scope=repository%3Aapp%3Apull"
    );
}

#[tokio::test]
async fn an_identity_token_goes_into_a_form_and_nowhere_else() {
    for status in [401, 503] {
        let mut bench = guarded(|_| false).await;
        bench.upstream = with_identity_token(&bench.registry);
        let realm = bench.registry.url().join("/token").unwrap();
        bench.registry.intercept(move |seen| {
            let challenge = format!(r#"Basic realm="r", Bearer realm="{realm}""#);
            let refused = Answer::status(401).with("www-authenticate", &challenge);
            Some(match token_request(seen) {
                true => Answer::status(status),
                false => refused,
            })
        });

        let outcome = bench.pull("latest").await;

        match status {
            401 => assert!(matches!(outcome, Err(Error::Denied { .. }))),
            _ => assert!(matches!(outcome, Err(Error::Unavailable { .. }))),
        }
        assert_eq!(bench.registry.count("GET /token"), 0);
        for seen in bench.registry.seen() {
            assert_eq!(seen.header(header::AUTHORIZATION), "");
        }
    }
}

#[tokio::test]
async fn a_form_is_not_sent_on_to_where_a_token_server_redirects() {
    let bench = guarded(|token| !token.is_empty()).await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if token_request(seen) {
            let elsewhere = Answer::status(307).with("location", "/elsewhere");
            return Some(elsewhere);
        }
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        bearer(seen).is_empty().then_some(refused)
    });

    assert!(bench.pull("latest").await.is_err());

    for seen in bench.registry.seen() {
        assert!(seen.body.is_empty() || seen.target == "/token", "{seen:?}");
    }
}

#[tokio::test]
async fn a_token_is_kept_and_shown_before_it_is_asked_for() {
    let bench = guarded(|token| token == "t0").await;
    bench.pull("latest").await.unwrap();
    let before = bench.registry.seen().len();

    bench.pull("other").await.unwrap();

    assert_eq!(bench.registry.seen().len(), before + 1);
    assert_eq!(tokens_asked_for(&bench), 1);
}

#[tokio::test]
async fn many_who_need_one_token_fetch_it_once() {
    let bench = guarded(|token| token == "t0").await;

    let tags: Vec<_> = (0..20).map(|n| format!("tag{n}")).collect();
    join_all(tags.iter().map(|tag| bench.pull(tag))).await;

    assert_eq!(tokens_asked_for(&bench), 1);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_renewed_behind_the_clients_back() {
    let bench = guarded(|token| !token.is_empty()).await;
    bench.pull("latest").await.unwrap();

    bench.clock.advance(Duration::from_secs(65));
    bench.pull("other").await.unwrap();

    let seen = bench.registry.seen();
    let pulled = seen.iter().find(|seen| seen.target.ends_with("/other"));
    assert_eq!(bearer(pulled.unwrap()), "t0");
    let renewed = async {
        while tokens_asked_for(&bench) < 2 {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, renewed).await.unwrap();
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_shown() {
    let bench = guarded(|token| !token.is_empty()).await;
    bench.pull("latest").await.unwrap();

    bench.clock.advance(Duration::from_secs(81));
    bench.pull("other").await.unwrap();

    let seen = bench.registry.seen();
    assert_eq!(bearer(seen.last().unwrap()), "t1");
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced() {
    let good = Arc::new(Mutex::new("t0"));
    let current = Arc::clone(&good);
    let bench = guarded(move |token| token == *current.lock().unwrap()).await;
    bench.pull("latest").await.unwrap();

    *good.lock().unwrap() = "t1";

    assert!(bench.pull("other").await.is_ok());
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_means_denied() {
    let bench = guarded(|_| false).await;

    let denied = bench.pull("latest").await;

    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    assert_eq!(tokens_asked_for(&bench), 1);
}

#[tokio::test]
async fn a_token_server_that_refuses_means_denied() {
    let bench = guarded(|_| false).await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        let challenge = format!(r#"Bearer realm="{realm}""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        Some(if token_request(seen) {
            Answer::status(403)
        } else {
            refused
        })
    });

    let denied = bench.pull("latest").await;

    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
}

#[tokio::test]
async fn a_changed_password_takes_effect_at_once() {
    let bench = guarded(|token| !token.is_empty()).await;
    bench.pull("latest").await.unwrap();
    let rotated = upstream(&bench.registry, Some("hunter3"));

    assert!(
        bench
            .puller
            .fresh(&rotated, &app(), &reference_of("latest"))
            .is_none()
    );
    let pulled = bench
        .puller
        .manifest(&rotated, &app(), &reference_of("latest"))
        .await;

    let seen = bench.registry.seen();
    let last = seen.iter().rfind(|seen| token_request(seen)).unwrap();
    assert!(pulled.is_ok());
    assert!(!last.body.is_empty() && !last.body.ends_with(b"=hunter2"));
}

#[tokio::test]
async fn a_scope_of_the_upstreams_own_is_asked_for_as_it_spells_it() {
    let bench = guarded(|_| true).await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if token_request(seen) {
            return Some(Answer::ok(r#"{"access_token":"a"}"#));
        }
        let challenge = format!(r#"Bearer realm="{realm}",scope="aws repository:x:pull,push""#);
        let refused = Answer::status(401).with("www-authenticate", &challenge);
        (bearer(seen) != "a").then_some(refused)
    });

    bench.pull("latest").await.unwrap();
    bench.pull("other").await.unwrap();

    assert_eq!(tokens_asked_for(&bench), 1);
    let seen = bench.registry.seen();
    let asked = seen.iter().find(|seen| token_request(seen)).unwrap();
    let form = str::from_utf8(&asked.body).unwrap();
    let scope = "&scope=aws+repository%3Ax%3Apull%2Cpush";
    assert!(form.ends_with(scope), "{form}");
}

#[tokio::test]
async fn a_token_for_too_little_is_replaced_by_one_for_what_is_asked() {
    let bench = guarded(|_| true).await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if token_request(seen) {
            let is_wide = str::from_utf8(&seen.body).unwrap().contains("wide");
            let token = if is_wide { "wide" } else { "narrow" };
            return Some(Answer::ok(format!(r#"{{"token":"{token}"}}"#)));
        }
        let challenge = match bearer(seen) {
            "wide" => return None,
            "narrow" => {
                format!(r#"Bearer realm="{realm}",scope="wide",error="insufficient_scope""#)
            }
            _ => format!(r#"Bearer realm="{realm}""#),
        };
        Some(Answer::status(401).with("www-authenticate", &challenge))
    });

    assert!(bench.pull("latest").await.is_ok());
}

#[tokio::test]
async fn basic_is_shown_from_the_second_request_on_and_only_with_an_account() {
    let refuse = |seen: &Seen| {
        let refused = Answer::status(401).with("www-authenticate", r#"Basic realm="r""#);
        (seen.header(header::AUTHORIZATION) != BASIC).then_some(refused)
    };
    let bench = guarded(|_| true).await;
    bench.registry.intercept(refuse);
    let anonymous = upstream(&bench.registry, None);

    bench.pull("latest").await.unwrap();
    bench.pull("other").await.unwrap();
    let denied = bench
        .puller
        .manifest(&anonymous, &app(), &reference_of("latest"))
        .await;

    assert_eq!(bench.registry.count("GET /v2/app/manifests/other"), 1);
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
}
