//! A registry client that hides nothing: what tests see is what was sent.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{Method, RequestBuilder, Response};

use crate::{
    admin::Login,
    authority::{Authority, Identity},
};

/// The types of manifest that today's clients take.
pub const ALL_MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// How long a connection is kept idle. Well below what workers do: a request
/// that meets the end of its connection has no answer.
const IDLE: Duration = Duration::from_secs(10);
/// How long a registry may say nothing before a test fails rather than waits.
const SILENCE: Duration = Duration::from_secs(120);

/// A client of one registry with one login.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    base: String,
    login: Option<Login>,
    http: reqwest::Client,
}

impl RegistryClient {
    /// A client of the registry at `addr`.
    pub fn new(addr: SocketAddr, login: &Login) -> Self {
        Self {
            login: Some(login.clone()),
            ..Self::anonymous(addr)
        }
    }

    /// A client that never says who it is.
    pub fn anonymous(addr: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(IDLE)
            // It speaks plain HTTP: reading the system's certificates takes long.
            .tls_certs_only([])
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client without surprises");
        Self {
            base: format!("http://{addr}"),
            login: None,
            http,
        }
    }

    /// A client of a TLS registry with a certificate of `authority`. The client
    /// sends the certificate of `identity`.
    pub fn secured(addr: SocketAddr, authority: &Authority, identity: Option<&Identity>) -> Self {
        Self::secured_from(addr, authority, identity, None)
    }

    /// A client as [`Self::secured`] makes it, from an address of this machine.
    pub fn secured_from(
        addr: SocketAddr,
        authority: &Authority,
        identity: Option<&Identity>,
        from: Option<IpAddr>,
    ) -> Self {
        let root = reqwest::Certificate::from_pem(authority.pem().as_bytes());
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(IDLE)
            .tls_certs_only([root.expect("an authority has a certificate")])
            .read_timeout(SILENCE)
            .local_address(from)
            .redirect(reqwest::redirect::Policy::none());
        let client = match identity {
            None => client,
            Some(identity) => {
                let pem = identity.key_pem() + &identity.certificate_pem();
                let identity = reqwest::Identity::from_pem(pem.as_bytes());
                client.identity(identity.expect("a key and its certificate"))
            }
        };
        Self {
            base: format!("https://{addr}"),
            login: None,
            http: client.build().expect("a client without surprises"),
        }
    }

    /// The same client, with a login.
    pub fn with(self, login: &Login) -> Self {
        Self {
            login: Some(login.clone()),
            ..self
        }
    }

    /// A request for `path`, for example `/v2/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.login {
            Some(login) => request.basic_auth(&login.name, Some(&login.secret)),
            None => request,
        }
    }

    /// The answer to a GET.
    pub async fn get(&self, path: &str) -> Response {
        sent(self.request(Method::GET, path)).await
    }

    /// The answer to a GET of a manifest, by a client that takes every type.
    pub async fn manifest(&self, repository: &str, reference: &str) -> Response {
        let path = format!("/v2/{repository}/manifests/{reference}");
        sent(
            self.request(Method::GET, &path)
                .header("accept", ALL_MANIFESTS),
        )
        .await
    }

    /// The answer to a HEAD of a manifest, by a client that takes every type.
    pub async fn head(&self, repository: &str, reference: &str) -> Response {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let request = self.request(Method::HEAD, &path);
        sent(request.header("accept", ALL_MANIFESTS)).await
    }

    /// The digest that a manifest's answer names, for an answer that must be
    /// good.
    pub async fn digest(&self, repository: &str, reference: &str) -> String {
        let answer = self.manifest(repository, reference).await;
        assert_eq!(
            answer.status(),
            200,
            "{}",
            answer.text().await.unwrap_or_default()
        );
        header(&answer, "docker-content-digest")
    }
}

/// Sends `request`; fails the test when there is no answer.
pub async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("the registry answers")
}

/// A header that must be there.
#[track_caller]
pub fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    let value = value.unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers()));
    value.to_str().expect("a header is text").to_owned()
}

/// The code and message of the first error of an answer's body.
pub async fn error(answer: Response) -> (String, String) {
    let body = answer.text().await.expect("an error has a body");
    let json: serde_json::Value = serde_json::from_str(&body)
        .unwrap_or_else(|_| panic!("an error is JSON, this is not: {body}"));
    let error = &json["errors"][0];
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}
