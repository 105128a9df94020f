//! `Host`: which name of a worker a request is for (RFC 9112, section 3.2).

use metahub_cli::demo::image::Form;
use metahub_tests::{
    raw::send,
    site::Site,
    stalled::{Demand, StalledClient},
};

/// A request of this version, with these header lines.
fn request(version: &str, hosts: &str) -> String {
    format!("GET /v2/ {version}\r\n{hosts}connection: close\r\n\r\n")
}

#[tokio::test]
async fn a_request_that_does_not_say_once_which_host_it_is_for_is_refused_in_words() {
    let site = Site::start(1).await;
    let twice = "host: here\r\nhost: here\r\n";

    for (version, hosts) in [("HTTP/1.1", ""), ("HTTP/1.1", twice), ("HTTP/1.0", twice)] {
        let request = request(version, hosts);
        let heard = send(site.workers[0].addr(), request.as_bytes()).await;

        assert_eq!(heard.status, 400, "{request}{}", heard.text);
        let (_, body) = heard.text.split_once("\r\n\r\n").expect("it has a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
        let message = body["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("send one `Host` header"), "{body}");
    }
}

#[tokio::test]
async fn the_host_of_an_absolute_target_counts_and_a_misspelt_one_is_refused() {
    let site = Site::start_with(1, Form::Docker, &["--challenge=bearer"]).await;
    let ask = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        send(site.workers[0].addr(), request.as_bytes()).await
    };

    let heard = ask("http://hub.example:5000/v2/", "other.example").await;
    assert!(
        heard
            .text
            .contains(r#"realm="http://hub.example:5000/token""#),
        "{}",
        heard.text
    );
    for host in ["a b", "a/b", "a@b", "[::1", "a:b", "a,b"] {
        assert_eq!(ask("/v2/", host).await.status, 400, "{host}");
    }
    assert_eq!(ask("/v2/", "[::1]:5000").await.status, 401);
}

#[tokio::test]
async fn a_request_of_http10_needs_no_host() {
    let site = Site::start(1).await;

    for hosts in ["", "host: here\r\n"] {
        let request = request("HTTP/1.0", hosts);
        let heard = send(site.workers[0].addr(), request.as_bytes()).await;

        assert_eq!(heard.status, 401, "{request}{}", heard.text);
    }
}

#[tokio::test]
async fn a_request_of_http2_says_its_host_elsewhere() {
    let site = Site::start(1).await;
    let demand = Demand {
        path: "/v2/",
        requests: 1,
        window: 1 << 20,
    };

    // It has been answered with 200 when this returns.
    StalledClient::ask(site.workers[0].addr(), &site.type1, demand).await;
}
