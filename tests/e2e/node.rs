//! The node proxy: headers that it adds and drops, and its own answers.

#[cfg(feature = "real-parts")]
mod engines;
mod streams;

use std::path::Path;

use http::Method;
use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    admin::Login,
    client::{RegistryClient, error, header, sent},
    hostile::{HostileHost, Said},
    invocation::run,
    node::{NodeProcess, credential},
    port::free_addr,
    raw::send,
    site::Site,
    tap::Tap,
    tls_front::TlsFront,
    wait::eventually,
};
use tempfile::TempDir;

/// The URL of a site's first worker.
fn url(site: &Site) -> String {
    format!("http://{}", site.workers[0].addr())
}

fn nobody() -> Login {
    Login {
        name: "qnib-type1~gone".into(),
        secret: "no secret of anybody".into(),
    }
}

#[tokio::test]
async fn a_host_gets_the_variant_of_its_type_without_a_login_of_the_engine() {
    let site = Site::start(1).await;

    for (login, n) in [(&site.type1, 2), (&site.type2, 1)] {
        let node = NodeProcess::start(&url(&site), login).await;
        let wanted = &site.bench.images[n];

        let digest = node.client().digest(REPOSITORY, "latest").await;
        let path = format!("/v2/{REPOSITORY}/blobs/{}", wanted.layer.digest);
        let blob = node.client().get(&path).await;

        assert_eq!(digest, wanted.manifest.digest);
        assert_eq!(blob.bytes().await.unwrap(), wanted.layer.bytes);
    }
}

#[tokio::test]
async fn workers_that_ask_for_tokens_are_pulled_from_all_the_same() {
    let site = Site::start_with(1, Form::Oci, &["--challenge=bearer"]).await;
    let node = NodeProcess::start(&url(&site), &site.type1).await;

    let digest = node.client().digest(REPOSITORY, "latest").await;

    assert_eq!(digest, site.bench.images[2].manifest.digest);
}

#[tokio::test]
async fn no_credential_of_an_engine_leaves_the_host() {
    let site = Site::start(1).await;
    let tap = Tap::before(site.workers[0].addr()).await;
    let node = NodeProcess::start(&format!("http://{}", tap.addr()), &site.type1).await;
    let hub = Login {
        name: "hub-user".into(),
        secret: "password-of-docker-hub".into(),
    };
    let engine = RegistryClient::new(node.addr(), &hub);

    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let request = engine.request(Method::GET, &path);
    let request = request
        .header("cookie", "session=cookie-of-somebody")
        .header("proxy-authorization", "Basic cHJveHk6c2VjcmV0LXByb3h5")
        .header("x-forwarded-for", "192.0.2.77");
    let answer = sent(request).await;

    assert_eq!(answer.status(), 200);
    assert!(tap.has_seen("authorization: Basic "));
    // `hub-user:` in base64.
    for text in [
        "aHViLXVzZXI6",
        "cookie",
        "cHJveHk6",
        "192.0.2.77",
        "forwarded",
    ] {
        assert!(!tap.has_seen(text), "{text} has passed");
    }
}

#[tokio::test]
async fn a_refusal_of_the_workers_comes_back_as_it_is() {
    let site = Site::start(1).await;
    site.put_variant("qnib/zen4", &["cpu:zen4"]);
    let node = NodeProcess::start(&url(&site), &site.type1).await;

    for (repository, tag) in [("qnib/zen4", "latest"), (REPOSITORY, "absent")] {
        let direct = site.host().manifest(repository, tag).await;
        let by_node = node.client().manifest(repository, tag).await;

        assert_eq!(by_node.status(), direct.status());
        assert!(matches!(direct.status().as_u16(), 403 | 404));
        assert_eq!(error(by_node).await, error(direct).await);
    }
}

#[tokio::test]
async fn the_base_of_the_api_is_open_and_has_no_challenge() {
    let node = NodeProcess::start(&format!("http://{}", free_addr()), &nobody()).await;

    for path in ["/v2/", "/v2", "/v2/?ns=docker.io"] {
        let answer = node.client().get(path).await;

        assert_eq!(answer.status(), 200, "{path}");
        assert!(!answer.headers().contains_key("www-authenticate"));
        let version = header(&answer, "docker-distribution-api-version");
        assert_eq!(version, "registry/2.0");
    }
}

#[tokio::test]
async fn a_balancer_that_is_gone_is_503_and_is_found_again() {
    let site = Site::start(1).await;
    let addr = free_addr();
    let node = NodeProcess::start(&format!("http://{addr}"), &site.type1).await;

    for method in [Method::GET, Method::HEAD] {
        let path = format!("/v2/{REPOSITORY}/manifests/latest");
        let answer = sent(node.client().request(method, &path)).await;
        assert_eq!(answer.status(), 503);
        header(&answer, "retry-after");
    }
    assert_eq!(node.client().get("/readyz").await.status(), 503);

    node.log_in(&url(&site), &site.type1);
    assert_eq!(node.client().get("/readyz").await.status(), 200);
    node.client().digest(REPOSITORY, "latest").await;
}

#[tokio::test]
async fn a_404_that_no_worker_has_given_is_503() {
    let balancer = HostileHost::start(1).await;
    balancer.says(|_| Said::status("404 Not Found"));
    let node = NodeProcess::start(&balancer.url(), &nobody()).await;

    let answer = node.client().manifest(REPOSITORY, "latest").await;

    assert_eq!(answer.status(), 503);
    let (_, message) = error(answer).await;
    assert!(message.contains("no worker"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_handed_on_and_not_followed() {
    let balancer = HostileHost::start(1).await;
    let location = "http://192.0.2.1/blob?signature=x";
    balancer.says(move |_| {
        let headers = [("Location", location), ("Content-Length", "0")];
        Said::headed("307 Temporary Redirect", &headers)
    });
    let node = NodeProcess::start(&balancer.url(), &nobody()).await;

    let answer = node.client().get("/v2/a/blobs/b").await;

    assert_eq!(answer.status(), 307);
    assert_eq!(header(&answer, "location"), location);
}

#[tokio::test]
async fn a_login_that_is_refused_is_403_without_a_challenge_until_it_is_replaced() {
    let site = Site::start(1).await;
    let node = NodeProcess::start(&url(&site), &nobody()).await;

    let refused = node.client().manifest(REPOSITORY, "latest").await;
    assert_eq!(refused.status(), 403);
    assert!(!refused.headers().contains_key("www-authenticate"));
    let (code, message) = error(refused).await;
    assert_eq!(code, "DENIED");
    assert!(message.contains("metahubctl host login"), "{message}");
    assert_eq!(node.client().get("/readyz").await.status(), 403);

    node.log_in(&url(&site), &site.type2);
    let digest = node.client().digest(REPOSITORY, "latest").await;
    assert_eq!(digest, site.bench.images[1].manifest.digest);
}

#[tokio::test]
async fn a_credential_file_that_is_spoiled_or_gone_leaves_the_former_one_in_force() {
    let site = Site::start(1).await;
    let node = NodeProcess::start(&url(&site), &site.type1).await;

    std::fs::write(node.credential_file(), "{").unwrap();
    node.client().digest(REPOSITORY, "latest").await;
    std::fs::remove_file(node.credential_file()).unwrap();
    node.client().digest(REPOSITORY, "latest").await;

    let complaints = node.log().matches("goes on with the former").count();
    assert_eq!(complaints, 2, "{}", node.log());
    assert!(!node.log().contains(&site.type1.secret));
}

#[tokio::test]
async fn what_is_no_read_of_the_api_by_a_local_engine_ends_at_the_proxy() {
    let balancer = HostileHost::start(1).await;
    let node = NodeProcess::start(&balancer.url(), &nobody()).await;
    let request = |first: &str, host: &str| {
        format!("{first} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
    };
    let local = "127.0.0.1";

    for (first, host, status) in [
        ("PUT /v2/a/manifests/b", local, 405),
        ("POST /v2/a/blobs/uploads/", local, 405),
        ("DELETE /v2/a/manifests/b", local, 405),
        ("GET /token?service=metahub", local, 404),
        ("GET /", local, 404),
        ("GET /v2/../token", local, 400),
        ("GET /v2/a/manifests/b", "rebound.example", 403),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03", local, 400),
    ] {
        let answer = send(node.addr(), request(first, host).as_bytes()).await;
        assert_eq!(answer.status, status, "{first}: {}", answer.text);
    }
    let long = format!("/v2/{}/manifests/b", "a".repeat(100 << 10));
    let answer = send(
        node.addr(),
        request(&format!("GET {long}"), local).as_bytes(),
    )
    .await;
    assert!(matches!(answer.status, 414 | 431), "{}", answer.text);
    assert_eq!(balancer.received(), "");
}

#[tokio::test]
async fn a_port_of_an_upstream_names_it_to_the_workers() {
    let mut site = Site::start(1).await;
    let other = metahub_proto::policy::v1::Upstream {
        name: "other.test".into(),
        url: site.upstream.url(),
        ..Default::default()
    };
    site.admin.put_upstream(other).await;
    site.admin.all_current(1).await;
    let port = free_addr();
    let upstream = format!("--upstream={}=other.test", port.port());
    let node = NodeProcess::start_with(&url(&site), &site.type1, &[&upstream]).await;

    let at_port = RegistryClient::anonymous(port);
    let at_port = at_port.manifest(REPOSITORY, "latest").await;
    let at_node = node.client().manifest(REPOSITORY, "latest").await;

    assert_eq!(header(&at_port, "oci-namespace"), "other.test");
    assert_eq!(at_port.status(), 200);
    assert!(!at_node.headers().contains_key("oci-namespace"));
}

#[tokio::test]
async fn a_registry_with_tls_is_verified_before_it_is_sent_the_login() {
    let site = Site::start(1).await;
    let front = TlsFront::with_http2_before(site.workers[0].addr()).await;
    let mut trusting = credential(&front.url(), &site.type1);
    let distrusting = NodeProcess::start_as(&trusting, &[]).await;
    trusting.registry_ca_pem = Some(front.ca_pem());
    let node = NodeProcess::start_as(&trusting, &[]).await;

    let refused = distrusting.client().manifest(REPOSITORY, "latest").await;
    assert_eq!(refused.status(), 503);
    let (_, message) = error(refused).await;
    assert!(message.contains("certificate"), "{message}");

    node.client().digest(REPOSITORY, "latest").await;
    assert_eq!(front.spoken(), ["http/1.1"]);
}

#[tokio::test]
async fn a_login_does_not_start_for_a_registry_that_others_could_read_along_with() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("host.json");
    let credential = credential("http://registry.example", &nobody());
    credential.write(&file).unwrap();
    let program = metahub_tests::program::ours("metahub-node");
    let listen = format!("--listen={}", free_addr());
    let file = format!("--credential={}", file.display());

    let ended = run(&program, [&listen, &file]).await;

    let said = ended.complaint();
    assert!(said.contains("plain text"), "{said}");
    assert!(!said.contains(&nobody().secret), "{said}");
}

#[tokio::test]
async fn the_unix_socket_is_for_the_users_that_are_listed() {
    let site = Site::start(1).await;
    let dir = TempDir::new().unwrap();
    let curl = async |socket: &Path| {
        let request = format!(
            "curl -s -m 5 --unix-socket {} http://node/v2/{REPOSITORY}/tags/list",
            socket.display()
        );
        run(Path::new("sh"), ["-c", &request]).await
    };
    let uid = std::os::unix::fs::MetadataExt::uid(&dir.path().metadata().unwrap());

    for (allowed, is_let_in) in [(uid, true), (uid + 1, false)] {
        let socket = dir.path().join(format!("{allowed}.sock"));
        let flags = [
            format!("--unix-socket={}", socket.display()),
            format!("--allow-uid={allowed}"),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut node = NodeProcess::start_with(&url(&site), &site.type1, &flags).await;

        let answer = curl(&socket).await;
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert_eq!(said.contains("latest"), is_let_in, "{said}");
        assert_eq!(node.log().contains("refused a connection"), !is_let_in);

        node.terminate();
        eventually("the proxy ends", async || !node.is_running()).await;
        assert!(!socket.exists(), "it leaves its socket behind");
    }
}

#[tokio::test]
async fn a_host_that_has_joined_keeps_its_login_without_a_control_plane() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("host.json");
    let login = async || {
        let credential = format!("--credential={}", file.display());
        let program = metahub_tests::program::ours("metahubctl");
        run(&program, ["host", "login", "--keep", &credential]).await
    };

    login().await.complaint();
    let credential = credential("http://127.0.0.1:1", &nobody());
    credential.write(&file).unwrap();

    let said = login().await.text();
    assert!(said.contains("is qnib-type1~gone already"), "{said}");
}
