//! Names that try to be something else.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use metahub_cli::demo::image::{Form, ImageSet};
use metahub_tests::{
    admin::Login,
    raw::{RawAnswer, send},
    site::Site,
};

/// A GET of exactly these bytes as path, with a good login.
async fn get(addr: SocketAddr, login: &Login, path: &[u8]) -> RawAnswer {
    let basic = STANDARD.encode(format!("{}:{}", login.name, login.secret));
    let mut request = b"GET ".to_vec();
    request.extend(path);
    request.extend(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: */*\r\n");
    request.extend(format!("Authorization: Basic {basic}\r\n\r\n").bytes());
    send(addr, &request).await
}

/// Fails unless each path is answered with one of its statuses and its code,
/// and the worker still serves afterwards.
async fn refused(cases: &[(&str, &[u16], &str)]) {
    let site = Site::start(1).await;
    let addr = site.workers[0].addr();
    site.upstream.forget_requests();

    for (path, statuses, code) in cases {
        let answer = get(addr, &site.type1, path.as_bytes()).await;

        let shown: String = path.chars().take(80).collect();
        let status = answer.status;
        assert!(statuses.contains(&status), "{shown}: {}", answer.text);
        let code = format!("\"code\":\"{code}\"");
        assert!(answer.text.contains(&code), "{shown}: {}", answer.text);
    }

    let asked = site.upstream.requests();
    assert!(asked.is_empty(), "the upstream was asked: {asked:?}");
    assert_eq!(get(addr, &site.type1, b"/v2/").await.status, 200);
}

#[tokio::test]
async fn repositories_are_found_whatever_words_their_names_hold() {
    let site = Site::start(1).await;
    let set = ImageSet::new(Form::Docker, &[&[]]).unwrap();
    let names = [
        "a/b/c/d/e",
        "manifests",
        "a/manifests",
        "manifests/manifests",
        "blobs/uploads",
        "a/tags/list",
        "v2/v2",
        "a-b__c/d.e--f",
    ];

    for name in names {
        site.upstream.put_images(name, "manifests", &set);
        let path = format!("/v2/{name}/manifests/manifests");
        let answer = get(site.workers[0].addr(), &site.type1, path.as_bytes()).await;

        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn repository_names_outside_the_grammar_are_refused() {
    let long = format!("/v2/{}/manifests/latest", "a".repeat(256));
    refused(&[
        (
            "/v2/Upper/case/manifests/latest",
            &[400, 404],
            "NAME_INVALID",
        ),
        ("/v2/a//b/manifests/latest", &[400, 404], "NAME_INVALID"),
        ("/v2//manifests/latest", &[400, 404], "NAME_INVALID"),
        ("/v2/-a/manifests/latest", &[400, 404], "NAME_INVALID"),
        ("/v2/a_/manifests/latest", &[400, 404], "NAME_INVALID"),
        ("/v2/a/../b/manifests/latest", &[400, 404], "NAME_INVALID"),
        (
            "/v2/../../etc/passwd/manifests/latest",
            &[400, 404],
            "NAME_INVALID",
        ),
        (
            "/v2/qnib%2fbench/manifests/latest",
            &[400, 404],
            "NAME_INVALID",
        ),
        (
            "/v2/qnib/%2e%2e/bench/manifests/latest",
            &[400, 404],
            "NAME_INVALID",
        ),
        (&long, &[400, 404], "NAME_INVALID"),
    ])
    .await;
}

#[tokio::test]
async fn tags_outside_the_grammar_are_refused() {
    let long = format!("/v2/qnib/bench/manifests/{}", "t".repeat(129));
    refused(&[
        (
            "/v2/qnib/bench/manifests/.hidden",
            &[400, 404],
            "TAG_INVALID",
        ),
        ("/v2/qnib/bench/manifests/-dash", &[400, 404], "TAG_INVALID"),
        ("/v2/qnib/bench/manifests/a%20b", &[400, 404], "TAG_INVALID"),
        ("/v2/qnib/bench/manifests/..", &[400, 404], "TAG_INVALID"),
        (
            "/v2/qnib/bench/manifests/%2e%2e%2fx",
            &[400, 404],
            "TAG_INVALID",
        ),
        (&long, &[400, 404], "TAG_INVALID"),
    ])
    .await;
}

#[tokio::test]
async fn digests_outside_the_grammar_are_refused() {
    let short = format!("/v2/qnib/bench/blobs/sha256:{}", "a".repeat(63));
    let upper = format!("/v2/qnib/bench/blobs/sha256:{}", "A".repeat(64));
    let long = format!("/v2/qnib/bench/manifests/sha256:{}", "a".repeat(65));
    let other = format!("/v2/qnib/bench/manifests/md5:{}", "a".repeat(32));
    refused(&[
        (&short, &[400, 404], "DIGEST_INVALID"),
        (&upper, &[400, 404], "DIGEST_INVALID"),
        (&long, &[400, 404], "DIGEST_INVALID"),
        (&other, &[400, 404], "DIGEST_INVALID"),
        ("/v2/qnib/bench/blobs/latest", &[400, 404], "DIGEST_INVALID"),
        (
            "/v2/qnib/bench/blobs/sha256:",
            &[400, 404],
            "DIGEST_INVALID",
        ),
        ("/v2/qnib/bench/blobs/..", &[400, 404], "DIGEST_INVALID"),
    ])
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let site = Site::start(1).await;
    let addr = site.workers[0].addr();

    for path in [
        &b"/v2/\xff\xfe/manifests/latest"[..],
        b"/v2/a/manifests/\x80",
    ] {
        let answer = get(addr, &site.type1, path).await;

        assert!([400, 404].contains(&answer.status), "{}", answer.text);
    }

    assert_eq!(get(addr, &site.type1, b"/v2/").await.status, 200);
}

#[tokio::test]
async fn a_path_of_a_mebibyte_is_refused() {
    let site = Site::start(1).await;
    let addr = site.workers[0].addr();
    let path = format!("/v2/{}/manifests/latest", "a/".repeat(1 << 19));

    let answer = get(addr, &site.type1, path.as_bytes()).await;

    assert!([400, 414, 431].contains(&answer.status), "{}", answer.text);
    assert_eq!(get(addr, &site.type1, b"/v2/").await.status, 200);
}

#[tokio::test]
async fn a_tls_hello_is_answered_in_plain_text() {
    let site = Site::start(1).await;
    // The head of a TLS record, and of a hello of 512 bytes in it.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 506]].concat();

    let answer = send(site.workers[0].addr(), &hello).await;

    assert!(answer.text.starts_with("HTTP/1."), "{}", answer.text);
    assert_eq!(answer.status, 400);
}
