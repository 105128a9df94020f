//! The registry over a real upstream, without its own socket.

use http::{Request, header};
use metahub_policy::{Rule, RuleMatch};

use self::stage::{DEPRECATED, IMAGE, INDEX, Stage, by, sha256};
use crate::{
    snapshot::{KindName, PinRecord, Record},
    telemetry,
};

mod grants;
mod hostile;
mod nested;
mod platforms;
mod purges;
mod revoked;
mod stage;
mod trimmed;

const LATEST: &str = "/v2/qnib/app/manifests/latest";
const GPU_ONLY: &str = "/v2/qnib/app/manifests/gpu-only";

#[tokio::test]
async fn each_type_gets_its_own_image_under_one_name() {
    let stage = Stage::new().await;

    for kind in ["broadwell", "skylake"] {
        let heard = stage.get(kind, LATEST).await;

        assert_eq!(heard.status, 200);
        assert_eq!(heard.digest(), stage.images[kind]);
        assert_eq!(sha256(&heard.body), stage.images[kind]);
        assert_eq!(heard.header("content-type"), IMAGE);
        assert_eq!(heard.header("etag"), format!("\"{}\"", heard.digest()));
    }
}

#[tokio::test]
async fn an_upstreams_warning_reaches_the_client_with_what_was_chosen() {
    let stage = Stage::new().await;
    let by_digest = format!("/v2/qnib/app/manifests/{}", stage.index);
    for path in [LATEST, LATEST, &by_digest] {
        let heard = stage.get("skylake", path).await;

        let warnings: Vec<_> = heard.headers.get_all("warning").iter().collect();
        assert_eq!(warnings, [DEPRECATED], "{path}");
    }
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let stage = Stage::new().await;
    let by_digest = format!("/v2/qnib/app/manifests/{}", stage.index);
    for path in [
        LATEST,
        &by_digest,
        GPU_ONLY,
        "/v2/",
        "/v2/qnib/app/tags/list",
        "/v2/no",
    ] {
        let get = stage.get("skylake", path).await;
        let head = stage.ask(by("skylake", "HEAD", path)).await;

        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.headers, get.headers, "{path}");
        assert_eq!(head.body, "", "{path}");
        assert_eq!(
            get.header("content-length"),
            get.body.len().to_string(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_client_is_told_the_features_of_its_own_type_and_how_old_the_policy_is() {
    let stage = Stage::new().await;

    let heard = stage.get("skylake", "/v2/_metahub/caller").await;

    let told: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!(told["machine_type"]["features"][0], "cpu:skylake");
    assert_eq!(told["policy"]["lag"], 0);
    assert!(told["policy"]["age_seconds"].is_u64(), "{told}");
}

#[tokio::test]
async fn an_answer_chosen_from_an_index_names_the_index() {
    let stage = Stage::new().await;
    let known = format!("\"{}\"", stage.images["skylake"]);
    for (status, request) in [
        (200, by("skylake", "GET", LATEST)),
        (200, by("skylake", "HEAD", LATEST)),
        (
            304,
            by("skylake", "GET", LATEST).header(header::IF_NONE_MATCH, known),
        ),
    ] {
        let heard = stage.ask(request).await;

        assert_eq!(heard.status, status);
        assert_eq!(heard.header("metahub-source-digest"), stage.index);
    }
    let refused = stage.get("skylake", GPU_ONLY).await;
    let source = refused.header("metahub-source-digest");
    let by_digest = format!("/v2/qnib/app/manifests/{source}");
    let source = stage.get("skylake", &by_digest).await;
    assert_eq!(refused.status, 403);
    assert!(String::from_utf8_lossy(&source.body).contains("nvcap:5.2"));
}

#[tokio::test]
async fn an_answer_that_is_not_chosen_names_no_index() {
    let stage = Stage::new().await;
    let by_digest = format!("/v2/qnib/app/manifests/{}", stage.index);
    for path in ["/v2/qnib/app/manifests/broadwell", &by_digest] {
        let heard = stage.get("skylake", path).await;

        assert!(!heard.headers.contains_key("metahub-source-digest"));
    }
}

#[tokio::test]
async fn by_digest_the_index_comes_as_it_is() {
    let stage = Stage::new().await;

    let heard = stage
        .get(
            "skylake",
            &format!("/v2/qnib/app/manifests/{}", stage.index),
        )
        .await;

    assert_eq!(heard.header("content-type"), INDEX);
    assert_eq!(sha256(&heard.body), stage.index);
}

#[tokio::test]
async fn without_control_plane_a_client_that_takes_no_image_gets_the_source_index() {
    let stage = Stage::new().await;
    let ask = |accept: &'static str| by("skylake", "GET", LATEST).header(header::ACCEPT, accept);

    assert_eq!(stage.ask(ask(INDEX)).await.digest(), stage.index);
    assert_eq!(
        stage.ask(ask("*/*")).await.digest(),
        stage.images["skylake"]
    );
    assert_eq!(stage.ask(ask(INDEX)).await.digest(), stage.index);
}

#[tokio::test]
async fn a_single_image_comes_as_it_is() {
    let stage = Stage::new().await;

    let heard = stage
        .get("skylake", "/v2/qnib/app/manifests/broadwell")
        .await;

    assert_eq!(heard.digest(), stage.images["broadwell"]);
}

#[tokio::test]
async fn where_nothing_fits_the_message_names_the_type_and_what_is_missing() {
    let stage = Stage::new().await;

    for _ in ["evaluated", "remembered"] {
        let heard = stage.get("skylake", GPU_ONLY).await;

        let (code, message) = heard.error();
        assert_eq!((heard.status, code.as_str()), (403, "DENIED"));
        for part in ["qnib/app:gpu-only", "qnib-skylake", "nvcap:5.2"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
    }
}

#[tokio::test]
async fn where_nothing_fits_a_type_may_let_the_source_through() {
    let stage = Stage::new().await;
    let json = r#"{"features":["cpu:skylake"],"on_no_match":"passthrough"}"#;
    stage.publish(|policy| policy.machine_type("lenient", json, "secret"));

    let heard = stage.get("lenient", GPU_ONLY).await;

    assert_eq!(heard.status, 200);
    assert_eq!(heard.header("content-type"), INDEX);
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let stage = Stage::new().await;
    let known = format!("\"{}\"", stage.images["skylake"]);

    let same = by("skylake", "GET", LATEST).header(header::IF_NONE_MATCH, &known);
    let same = stage.ask(same).await;
    let other = by("broadwell", "GET", LATEST).header(header::IF_NONE_MATCH, &known);
    let other = stage.ask(other).await;

    assert_eq!((same.status, same.header("etag")), (304, known.as_str()));
    assert_eq!(same.body, "");
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn what_is_remembered_asks_no_upstream() {
    let stage = Stage::new().await;
    stage.get("skylake", LATEST).await;
    let before = stage.asked();

    stage.get("skylake", LATEST).await;

    assert_eq!(stage.asked(), before);
}

#[tokio::test]
async fn no_cache_is_asked_for_a_client_that_is_not_let_in() {
    let stage = Stage::new().await;
    stage.get("skylake", LATEST).await;

    let unknown = stage.get("nobody", LATEST).await;
    let anonymous = stage.ask(Request::get(LATEST)).await;

    assert_eq!((unknown.status, anonymous.status), (401, 401));
    let text = "machine type or password is wrong";
    assert_eq!(unknown.error(), ("UNAUTHORIZED".into(), text.into()));
}

#[tokio::test]
async fn a_policy_that_changes_changes_what_is_remembered() {
    let stage = Stage::new().await;
    stage.get("skylake", LATEST).await;
    let scope = Rule {
        name: String::new(),
        repository: "qnib/app".into(),
        tag: String::new(),
        matches: RuleMatch::default(),
        requires: Vec::new(),
    };
    let pin = PinRecord {
        kind: KindName {
            user: "qnib".into(),
            name: "skylake".into(),
        },
        scope,
        digest: stage.images["broadwell"].clone(),
    };

    stage.publish(|policy| policy.with("pin", "skylake", Record::Pin(Box::new(pin))));

    let heard = stage.get("skylake", LATEST).await;
    assert_eq!(heard.digest(), stage.images["broadwell"]);
}

#[tokio::test]
async fn all_that_is_no_pull_is_refused_in_the_words_of_the_spec() {
    let stage = Stage::new().await;
    for (method, path, status, code) in [
        ("POST", "/v2/qnib/app/blobs/uploads/", 405, "UNSUPPORTED"),
        ("DELETE", LATEST, 405, "UNSUPPORTED"),
        ("GET", "/v2/_catalog", 404, "UNSUPPORTED"),
        ("GET", "/elsewhere", 404, "UNSUPPORTED"),
        (
            "GET",
            "/v2/qnib/app/manifests/missing",
            404,
            "MANIFEST_UNKNOWN",
        ),
        ("GET", "/v2/qnib/App/manifests/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/qnib/../manifests/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/qnib/app/manifests/.no", 404, "TAG_INVALID"),
        ("GET", "/v2/qnib/app/blobs/sha256:no", 400, "DIGEST_INVALID"),
        (
            "GET",
            "/v2/quay.io/app/manifests/latest",
            404,
            "NAME_UNKNOWN",
        ),
        (
            "GET",
            "/v2/app/manifests/latest?ns=quay.io",
            404,
            "NAME_UNKNOWN",
        ),
    ] {
        let heard = stage.ask(by("skylake", method, path)).await;

        assert_eq!(heard.status, status, "{method} {path}");
        assert_eq!(heard.error().0, code, "{method} {path}");
    }
    let write = stage.ask(by("skylake", "PUT", LATEST)).await;
    assert_eq!(write.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn every_answer_says_that_it_is_version_two_and_private() {
    let stage = Stage::new().await;
    for path in [LATEST, "/v2/", "/v2/_catalog", "/elsewhere"] {
        let heard = stage.get("skylake", path).await;

        let version = heard.header("docker-distribution-api-version");
        assert_eq!(version, "registry/2.0", "{path}");
        assert_eq!(heard.header("cache-control"), "private", "{path}");
    }
}

#[tokio::test]
async fn a_mirror_is_told_which_registry_it_stands_for() {
    let stage = Stage::new().await;

    let heard = stage
        .get("skylake", &format!("{LATEST}?ns=here.test"))
        .await;

    assert_eq!(heard.digest(), stage.images["skylake"]);
    assert_eq!(heard.header("oci-namespace"), "here.test");
}

#[tokio::test]
async fn tags_are_listed_under_the_name_that_the_client_used() {
    let stage = Stage::new().await;

    let heard = stage
        .get("skylake", "/v2/here.test/qnib/app/tags/list")
        .await;

    let list: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
    let expected = serde_json::json!({"name": "here.test/qnib/app", "tags": ["latest"]});
    assert_eq!(list, expected);
}

#[tokio::test]
async fn a_worker_without_policy_asks_its_clients_to_come_back() {
    let stage = Stage::new().await;
    stage.current.retract();
    tokio::time::pause();

    let heard = stage.get("skylake", LATEST).await;

    assert_eq!((heard.status, heard.header("retry-after")), (503, "2"));
}

#[tokio::test]
async fn a_request_that_is_there_before_the_first_policy_waits_for_it() {
    let stage = Stage::new().await;
    let policy = stage.current.load_full().unwrap();
    stage.current.retract();

    let arrives = async { stage.current.publish(policy) };
    let (heard, ()) = tokio::join!(stage.get("skylake", LATEST), arrives);

    assert_eq!(heard.status, 200);
}

#[tokio::test]
async fn an_upstream_is_told_the_trace_of_the_client_whom_it_serves() {
    telemetry::trace_tests();
    let stage = Stage::new().await;

    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("{trace}-00f067aa0ba902b7-01");
    let request = by("skylake", "GET", LATEST).header("traceparent", &parent);
    stage.ask(request).await;

    let asked = stage.asked();
    assert!(!asked.is_empty());
    for told in asked {
        assert!(told.starts_with(trace) && told != parent, "{told:?}");
    }
}
