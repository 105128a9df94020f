//! A worker with TLS, and hosts with certificates as logins.

use metahub_cli::demo::image::{Form, REPOSITORY};
use metahub_tests::{
    authority::{Authority, Identity},
    client::{RegistryClient, error, header},
    site::Site,
};
use reqwest::{Method, StatusCode, Version};
use tempfile::TempDir;

/// A site with one TLS worker that accepts client certificates of `authority`.
struct Secured {
    site: Site,
    authority: Authority,
    _dir: TempDir,
}

impl Secured {
    async fn start(flags: &[&str]) -> Self {
        let (authority, dir) = (Authority::new(), TempDir::new().expect("a directory"));
        let identity = authority.identity("127.0.0.1");
        identity.write(dir.path(), "tls.crt", "tls.key");
        std::fs::write(dir.path().join("ca.crt"), authority.pem()).expect("it can be written");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let files = [
            format!("--tls-cert={}", path("tls.crt")),
            format!("--tls-key={}", path("tls.key")),
            format!("--tls-client-ca={}", path("ca.crt")),
        ];
        let flags = files
            .iter()
            .map(String::as_str)
            .chain(flags.iter().copied());
        let flags: Vec<_> = flags.collect();
        Self {
            site: Site::start_with(1, Form::Docker, &flags).await,
            authority,
            _dir: dir,
        }
    }

    fn client(&self, identity: Option<&Identity>) -> RegistryClient {
        RegistryClient::secured(self.site.workers[0].addr(), &self.authority, identity)
    }
}

#[tokio::test]
async fn a_certificate_gets_the_variant_of_the_login_that_it_names() {
    let secured = Secured::start(&[]).await;

    for (login, at) in [(&secured.site.type1, 2), (&secured.site.type2, 1)] {
        let identity = secured.authority.client(&login.name);
        let client = secured.client(Some(&identity));
        let digest = client.digest(REPOSITORY, "latest").await;
        assert_eq!(
            digest,
            secured.site.bench.images[at].manifest.digest.as_str()
        );
    }
}

#[tokio::test]
async fn a_login_that_is_given_counts_and_not_the_certificate() {
    let secured = Secured::start(&[]).await;
    let identity = secured.authority.client(&secured.site.type1.name);
    let client = secured.client(Some(&identity)).with(&secured.site.type2);

    let digest = client.digest(REPOSITORY, "latest").await;

    assert_eq!(
        digest,
        secured.site.bench.images[1].manifest.digest.as_str()
    );
}

#[tokio::test]
async fn a_certificate_whose_login_is_deleted_is_refused_on_the_same_connection() {
    let mut secured = Secured::start(&[]).await;
    let identity = secured.authority.client(&secured.site.type1.name);
    let client = secured.client(Some(&identity));
    assert_eq!(client.get("/v2/").await.status(), StatusCode::OK);

    let login = secured.site.type1.name.clone();
    secured.site.admin.delete_login(&login).await;
    secured.site.admin.all_current(1).await;

    let refused = client.get("/v2/").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let (code, message) = error(refused).await;
    assert_eq!(code, "UNAUTHORIZED");
    assert!(message.contains("names `qnib-type1`"), "{message}");
}

#[tokio::test]
async fn a_host_without_a_certificate_is_asked_to_log_in_over_https() {
    let secured = Secured::start(&["--challenge=bearer"]).await;
    let addr = secured.site.workers[0].addr();

    let answer = secured.client(None).get("/v2/").await;

    assert_eq!(answer.version(), Version::HTTP_2);
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&answer, "www-authenticate");
    let realm = format!("realm=\"https://{addr}/token\"");
    assert!(challenge.contains(&realm), "{challenge}");
}

#[tokio::test]
async fn a_certificate_gets_a_token_that_is_good_without_it() {
    let secured = Secured::start(&["--challenge=bearer"]).await;
    let identity = secured.authority.client(&secured.site.type1.name);
    let path = format!("/token?scope=repository:{REPOSITORY}:pull");

    let granted = secured.client(Some(&identity)).get(&path).await;
    let granted: serde_json::Value = granted.json().await.expect("a token is JSON");
    let token = granted["token"].as_str().expect("there is one");
    let client = secured.client(None);
    let asked = client.request(Method::GET, "/v2/").bearer_auth(token);

    let answer = asked.send().await.expect("the worker answers");
    assert_eq!(answer.status(), StatusCode::OK);
}
