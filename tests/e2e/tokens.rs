//! Docker's token authentication, as raw HTTP: a challenge, a token, a pull.

use http::Method;
use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    admin::Login,
    client::{RegistryClient, error, header, sent},
    control::Control,
    site::Site,
    wait::eventually,
    worker::Worker,
};
use serde_json::Value;

const MANIFEST: &str = "/v2/qnib/bench/manifests/latest";

async fn bearer_site(workers: usize) -> Site {
    let flags = ["--challenge=bearer", "--trusted-proxy=127.0.0.0/8"];
    Site::start_with(workers, Form::Docker, &flags).await
}

/// The challenge of a worker to one who asks for `path` without login.
async fn challenge(site: &Site, path: &str) -> String {
    let stranger = RegistryClient::anonymous(site.workers[0].addr());
    let answer = stranger.get(path).await;
    assert_eq!(answer.status(), 401);
    let challenges = answer.headers().get_all("www-authenticate");
    assert_eq!(challenges.iter().count(), 1);
    header(&answer, "www-authenticate")
}

/// The token that the first worker gives to `login`, as docker asks for it when
/// it pulls.
async fn token(site: &Site, login: &Login) -> String {
    token_for(site, login, &format!("&scope=repository:{REPOSITORY}:pull")).await
}

/// One for another scope, or without any, as docker asks for it at a login.
async fn token_for(site: &Site, login: &Login, scope: &str) -> String {
    let path = format!(
        "/token?account={}&service=metahub&client_id=docker&offline_token=true{scope}",
        login.name
    );
    let answer = site.client(0, login).get(&path).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(
        (&body["token"], &body["expires_in"]),
        (&body["access_token"], &300.into())
    );
    // docker would keep it in place of the secret.
    assert_eq!(body.get("refresh_token"), None);
    body["token"].as_str().expect("text").to_owned()
}

/// The answer to whoever asks the `n`th worker for `path` with `token`.
async fn asked(site: &Site, n: usize, token: &str, path: &str) -> reqwest::Response {
    let client = RegistryClient::anonymous(site.workers[n].addr());
    sent(client.request(Method::GET, path).bearer_auth(token)).await
}

/// The status of a pull with `token` at the `n`th worker.
async fn pulled(site: &Site, n: usize, token: &str) -> u16 {
    asked(site, n, token, MANIFEST).await.status().as_u16()
}

/// The answer to containerd's form.
async fn posted(site: &Site, grant_type: &str, login: &Login) -> reqwest::Response {
    let client = RegistryClient::anonymous(site.workers[0].addr());
    let request = client.request(Method::POST, "/token");
    sent(request.form(&[
        ("grant_type", grant_type),
        ("service", "metahub"),
        ("client_id", "containerd-client"),
        ("scope", "repository:qnib/bench:pull repository:qnib/b:pull"),
        ("access_type", "offline"),
        ("username", &login.name),
        ("password", &login.secret),
    ]))
    .await
}

#[tokio::test]
async fn a_client_is_sent_to_the_token_endpoint_of_the_host_that_it_named() {
    let site = bearer_site(1).await;
    let addr = site.workers[0].addr();

    let realm = format!(r#"Bearer realm="http://{addr}/token",service="metahub""#);
    assert_eq!(challenge(&site, "/v2/").await, realm);
    let scope = format!(r#"{realm},scope="repository:qnib/bench:pull""#);
    assert_eq!(challenge(&site, MANIFEST).await, scope);
    let stranger = RegistryClient::anonymous(addr);
    let behind_tls = stranger
        .request(Method::GET, "/v2/")
        .header("x-forwarded-proto", "https");
    let told = header(&sent(behind_tls).await, "www-authenticate");
    assert_eq!(told, realm.replace("http:", "https:"));
}

#[tokio::test]
async fn a_client_behind_several_proxies_is_sent_to_the_outermost_by_https() {
    let site = bearer_site(1).await;
    let stranger = RegistryClient::anonymous(site.workers[0].addr());

    for headers in [
        &[
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "hub.example, inner.lan"),
            ("x-forwarded-port", "8443, 80"),
        ][..],
        &[(
            "forwarded",
            r#"proto=https;host="hub.example:8443", host=inner"#,
        )],
        &[
            ("x-forwarded-proto", "odd"),
            ("x-forwarded-host", "hub.example:8443"),
        ],
    ] {
        let mut request = stranger.request(Method::GET, "/v2/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let told = header(&sent(request).await, "www-authenticate");

        let realm = r#"Bearer realm="https://hub.example:8443/token","#;
        assert!(told.starts_with(realm), "{told}");
    }
}

#[tokio::test]
async fn a_token_that_one_worker_gives_is_good_at_another() {
    let site = bearer_site(2).await;

    let token = token(&site, &site.type1).await;

    assert_eq!(pulled(&site, 0, &token).await, 200);
    assert_eq!(pulled(&site, 1, &token).await, 200);
    assert_eq!(pulled(&site, 1, &format!("{token}x")).await, 401);
}

#[tokio::test]
async fn a_token_stands_for_the_machine_type_that_logged_in() {
    let site = bearer_site(1).await;
    let by_password = site.host().digest(REPOSITORY, "latest").await;

    let token = token(&site, &site.type1).await;

    let client = RegistryClient::anonymous(site.workers[0].addr());
    let answer = sent(client.request(Method::GET, MANIFEST).bearer_auth(token)).await;
    assert_eq!(header(&answer, "docker-content-digest"), by_password);
}

#[tokio::test]
async fn containerd_gets_a_token_for_its_form() {
    let site = bearer_site(1).await;

    let answer = posted(&site, "password", &site.type1).await;

    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(pulled(&site, 0, token).await, 200);
    assert_eq!(body.get("refresh_token"), None);
    let refused = posted(&site, "refresh_token", &site.type1).await;
    assert_eq!(refused.status(), 400);
    let (_, message) = error(refused).await;
    assert!(message.contains("keep the login's secret"), "{message}");
}

#[tokio::test]
async fn a_token_opens_the_repository_that_it_is_for_and_no_other() {
    let site = bearer_site(1).await;
    site.put_variant("qnib/other", &[]);
    let other = "/v2/qnib/other/manifests/latest";
    let token = token(&site, &site.type1).await;

    let refused = asked(&site, 0, &token, other).await;

    assert_eq!(pulled(&site, 0, &token).await, 200);
    assert_eq!(asked(&site, 0, &token, "/v2/").await.status(), 200);
    assert_eq!(refused.status(), 401);
    let challenge = header(&refused, "www-authenticate");
    let wanted = r#",scope="repository:qnib/other:pull",error="insufficient_scope""#;
    assert!(challenge.ends_with(wanted), "{challenge}");
    for path in ["tags/list", "blobs/DIGEST", "referrers/DIGEST"] {
        let path = path.replace("DIGEST", &site.bench.index.digest);
        let path = format!("/v2/qnib/other/{path}");
        let refused = asked(&site, 0, &token, &path).await;
        assert_eq!(refused.status(), 401, "{path}");
    }
    let by_password = site.host().get(other).await;
    assert_eq!(by_password.status(), 200);
}

#[tokio::test]
async fn a_token_without_scope_says_that_somebody_is_logged_in_and_no_more() {
    let site = bearer_site(1).await;

    let token = token_for(&site, &site.type1, "").await;

    assert_eq!(asked(&site, 0, &token, "/v2/").await.status(), 200);
    assert_eq!(pulled(&site, 0, &token).await, 401);
}

#[tokio::test]
async fn a_token_is_for_all_scopes_that_were_asked_for() {
    let site = bearer_site(1).await;
    site.put_variant("qnib/other", &[]);
    let scopes = "&scope=repository:qnib/other:pull&scope=repository:qnib/bench:pull,push";

    let token = token_for(&site, &site.type1, scopes).await;

    assert_eq!(pulled(&site, 0, &token).await, 200);
    let other = "/v2/qnib/other/manifests/latest";
    assert_eq!(asked(&site, 0, &token, other).await.status(), 200);
}

#[tokio::test]
async fn a_token_outlives_the_control_plane_and_is_good_at_a_worker_that_comes_later() {
    let mut site = bearer_site(1).await;
    let token = token(&site, &site.type1).await;

    let place = site.control.stop().await;
    let control = Control::start_at(place).await;
    site.workers.push(Worker::start(control.place()).await);
    site.control = control;

    assert_eq!(pulled(&site, 0, &token).await, 200);
    assert_eq!(pulled(&site, 1, &token).await, 200);
}

#[tokio::test]
async fn a_wrong_secret_gets_no_token_and_a_message() {
    let site = bearer_site(1).await;
    let wrong = Login {
        secret: "wrong".into(),
        ..site.type1.clone()
    };

    let by_get = site.client(0, &wrong).get("/token").await;
    let by_post = posted(&site, "password", &wrong).await;

    for answer in [by_get, by_post] {
        assert_eq!(answer.status(), 401);
        let (code, message) = error(answer).await;
        assert_eq!(code, "UNAUTHORIZED");
        assert!(message.contains("password is wrong"), "{message}");
    }
}

#[tokio::test]
async fn a_token_ends_with_the_login_that_it_was_given_for() {
    let mut site = bearer_site(2).await;
    let token = token(&site, &site.type1).await;
    assert_eq!(pulled(&site, 1, &token).await, 200);

    let name = site.type1.name.clone();
    site.admin.delete_login(&name).await;

    eventually("the token is refused", async || {
        pulled(&site, 0, &token).await == 401 && pulled(&site, 1, &token).await == 401
    })
    .await;
    let client = RegistryClient::anonymous(site.workers[0].addr());
    let answer = sent(client.request(Method::GET, "/v2/").bearer_auth(&token)).await;
    assert!(header(&answer, "www-authenticate").ends_with(r#",error="invalid_token""#));
}

#[tokio::test]
async fn workers_take_passwords_and_tokens_whichever_they_ask_for() {
    let bearer = bearer_site(1).await;
    let basic = Site::start(1).await;

    assert!(challenge(&basic, "/v2/").await.starts_with("Basic "));
    let token = token(&basic, &basic.type1).await;
    assert_eq!(pulled(&basic, 0, &token).await, 200);
    assert_eq!(bearer.host().get("/v2/").await.status(), 200);
}
