//! Who may pull from a restricted upstream.

use super::stage::Stage;

/// A stage whose upstream is there once more, as `closed.test`.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    let url = stage.url().to_owned();
    stage.publish(|policy| policy.restricted_upstream("closed.test", &url));
    stage
}

fn grant(stage: &Stage, user: Option<&str>, repository: &str) {
    let url = stage.url().to_owned();
    stage.publish(|policy| {
        let policy = policy.restricted_upstream("closed.test", &url);
        policy.grant(user, repository)
    });
}

#[tokio::test]
async fn without_a_grant_every_endpoint_is_denied_and_the_upstream_not_asked() {
    let stage = stage().await;
    for path in [
        "/v2/closed.test/qnib/app/manifests/latest",
        &format!("/v2/closed.test/qnib/app/manifests/{}", stage.index),
        &format!("/v2/closed.test/qnib/app/blobs/{}", stage.index),
        &format!("/v2/closed.test/qnib/app/referrers/{}", stage.index),
        "/v2/closed.test/qnib/app/tags/list",
        "/v2/closed.test/qnib/no-such/tags/list",
        "/v2/qnib/app/manifests/latest?ns=closed.test",
    ] {
        let heard = stage.get("broadwell", path).await;

        assert_eq!(heard.status, 403, "{path}");
        let (code, message) = heard.error();
        assert_eq!(code, "DENIED");
        assert!(message.contains("user `qnib`"), "{message}");
        assert!(message.contains("closed.test/qnib/"), "{message}");
    }
    assert_eq!(stage.asked_for(""), 0);
}

#[tokio::test]
async fn a_grant_opens_a_repository_and_what_is_cached_closes_with_it() {
    let stage = stage().await;
    let by_tag = "/v2/closed.test/qnib/app/manifests/latest";
    let by_digest = format!("/v2/closed.test/qnib/app/manifests/{}", stage.index);
    grant(&stage, Some("qnib"), "closed.test/qnib/*");
    for path in [by_tag, &by_digest] {
        assert_eq!(stage.get("broadwell", path).await.status, 200, "{path}");
    }

    grant(&stage, Some("moby"), "closed.test/qnib/*");

    for path in [by_tag, &by_digest] {
        assert_eq!(stage.get("broadwell", path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_grant_for_all_users_is_for_each() {
    let stage = stage().await;

    grant(&stage, None, "closed.test/**");

    let heard = stage
        .get("skylake", "/v2/closed.test/qnib/app/manifests/latest")
        .await;
    assert_eq!(heard.status, 200);
}
