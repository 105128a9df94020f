//! Docker's plugins: Docker Hub wants a scope of a class of their own for them.

use http::header;

use super::*;
use crate::upstream::testing::Answer;

/// A registry that says of every scope but the one of a plugin that it is not
/// sufficient.
async fn of_plugins() -> Bench {
    let bench = Bench::with_password(Some("hunter2")).await;
    for tag in ["1", "2"] {
        bench.registry.put_manifest("app", tag, SMALL_IMAGE);
    }
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if seen.target.starts_with("/token") {
            let form = str::from_utf8(&seen.body).unwrap();
            let is_plugin = form.contains("scope=repository%28plugin%29%3Aapp%3Apull");
            let token = if is_plugin { "plugin" } else { "plain" };
            return Some(Answer::ok(format!(r#"{{"token":"{token}"}}"#)));
        }
        let challenge = format!(r#"Bearer realm="{realm}",scope="repository:app:pull""#);
        let error = match seen.header(header::AUTHORIZATION) {
            "Bearer plugin" => return None,
            "" => "",
            _ => r#",error="insufficient_scope""#,
        };
        let challenge = challenge + error;
        Some(Answer::status(401).with("www-authenticate", &challenge))
    });
    bench
}

#[tokio::test]
async fn a_scope_that_is_not_sufficient_is_tried_as_one_of_a_plugin() {
    let bench = of_plugins().await;

    bench.pull("1").await.unwrap();
    bench.pull("2").await.unwrap();

    assert_eq!(bench.registry.count("POST /token"), 2);
    assert_eq!(bench.registry.count("GET /v2/app/manifests/2"), 1);
}

#[tokio::test]
async fn a_plugins_scope_that_is_refused_too_means_denied() {
    let bench = of_plugins().await;
    let realm = bench.registry.url().join("/token").unwrap();
    bench.registry.intercept(move |seen| {
        if seen.target.starts_with("/token") {
            return Some(Answer::ok(r#"{"token":"t"}"#));
        }
        let challenge = format!(r#"Bearer realm="{realm}",error="insufficient_scope""#);
        Some(Answer::status(401).with("www-authenticate", &challenge))
    });

    let denied = bench.pull("1").await;

    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    assert_eq!(bench.registry.count("POST /token"), 2);
}
