//! The registry that an index is pushed to.
//!
//! Asks without credentials first; the challenge says what it wants (RFC 7235;
//! distribution's "Token Authentication Specification").

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::reference::Reference;
use crate::{
    client::is_local,
    demo::client::{MANIFEST_TYPES, refusal},
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// An account at a registry.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) username: String,
    pub(super) password: SecretString,
}

/// A registry, and what it takes to be let in.
pub(super) struct Origin {
    http: reqwest::Client,
    url: Url,
    account: Option<Account>,
    /// The scheme and credentials that worked last.
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Origin {
    /// The registry of `target`.
    pub(super) fn new(
        target: &Reference,
        account: Option<Account>,
        plain_http: bool,
    ) -> anyhow::Result<Self> {
        let host = match target.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let mut url = Url::parse(&format!("https://{host}"))
            .with_context(|| format!("`{host}` is no registry"))?;
        if plain_http || is_local(&url) {
            url = Url::parse(&format!("http://{host}"))?;
        }
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .build()
                .context("cannot make an HTTP client")?,
            url,
            account,
            authorization: Mutex::new(None),
        })
    }

    /// A manifest's media type and bytes.
    pub(super) async fn manifest(
        &self,
        repository: &str,
        name: &str,
    ) -> anyhow::Result<(String, Bytes)> {
        let url = self.at(&format!("{repository}/manifests/{name}"))?;
        let answer = self
            .send(&[repository], || {
                self.http.get(url.clone()).header(ACCEPT, MANIFEST_TYPES)
            })
            .await?;
        let media_type = answer.headers().get(CONTENT_TYPE);
        let media_type = media_type
            .and_then(|value| value.to_str().ok())
            .context("the registry names no media type")?
            .to_owned();
        Ok((media_type, answer.bytes().await?))
    }

    /// Stores a manifest under a tag or its digest.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> anyhow::Result<()> {
        let url = self.at(&format!("{repository}/manifests/{name}"))?;
        let request = || {
            let request = self.http.put(url.clone()).header(CONTENT_TYPE, media_type);
            request.body(bytes.clone())
        };
        self.send(&[repository], request).await?;
        Ok(())
    }

    /// Makes a blob of another repository part of this one.
    pub(super) async fn mount(
        &self,
        repository: &str,
        digest: &str,
        from: &str,
    ) -> anyhow::Result<()> {
        let mut url = self.at(&format!("{repository}/blobs/uploads/"))?;
        url.query_pairs_mut()
            .append_pair("mount", digest)
            .append_pair("from", from);
        let answer = self
            .send(&[repository, from], || {
                self.http.request(Method::POST, url.clone())
            })
            .await?;
        ensure!(
            answer.status() == StatusCode::CREATED,
            "the registry does not copy {digest} from {from}: copy the image first"
        );
        Ok(())
    }

    fn at(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.url.join(&format!("/v2/{path}"))?)
    }

    /// Sends a request, and once more when the registry asks who it is. Writes
    /// to the first of the repositories, and reads the others.
    async fn send(
        &self,
        repositories: &[&str],
        request: impl Fn() -> RequestBuilder,
    ) -> anyhow::Result<Response> {
        let mut answer = self.attempt(&request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let authorization = self.authorize(repositories, &answer).await?;
            *self.last() = Some(authorization);
            answer = self.attempt(&request).await?;
        }
        if !answer.status().is_success() {
            bail!("{}", refusal(answer).await);
        }
        Ok(answer)
    }

    async fn attempt(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
        let mut request = request();
        if let Some(authorization) = self.last().clone() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.send().await;
        answer.with_context(|| format!("cannot reach the registry at {}", self.url))
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorize(&self, repositories: &[&str], answer: &Response) -> anyhow::Result<String> {
        let header = answer.headers().get(WWW_AUTHENTICATE);
        let header = header
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let challenges = parse_challenges(header).unwrap_or_default();
        let find = |scheme| {
            challenges
                .iter()
                .find(|it| it.scheme.eq_ignore_ascii_case(scheme))
        };
        if let Some(challenge) = find("Bearer") {
            return self.token(repositories, challenge).await;
        }
        let account = self
            .account
            .as_ref()
            .filter(|_| find("Basic").is_some())
            .context("the registry wants an account: give --username and --password-file")?;
        Ok(http_auth::basic::encode_credentials(
            &account.username,
            account.password.expose_secret(),
        ))
    }

    async fn token(
        &self,
        repositories: &[&str],
        challenge: &ChallengeRef<'_>,
    ) -> anyhow::Result<String> {
        let param = |name: &str| {
            let found = challenge
                .params
                .iter()
                .find(|(it, _)| it.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = Url::parse(&param("realm").unwrap_or_default())
            .context("the registry does not say where it gives tokens out")?;
        ensure!(
            realm.scheme() == "https" || realm.host() == self.url.host(),
            "the registry sends the password to {realm} in plain text; it was not sent"
        );
        let mut query = Vec::from_iter(param("service").map(|service| ("service", service)));
        for (place, repository) in repositories.iter().enumerate() {
            let actions = if place == 0 { "pull,push" } else { "pull" };
            query.push(("scope", format!("repository:{repository}:{actions}")));
        }
        let mut request = self.http.get(realm).query(&query);
        if let Some(account) = &self.account {
            request = request.basic_auth(&account.username, Some(account.password.expose_secret()));
        }
        let answer = request.send().await.context("cannot get a token")?;
        if !answer.status().is_success() {
            bail!("{}", refusal(answer).await);
        }
        let token: Token = answer.json().await.context("the token cannot be read")?;
        Ok(format!("Bearer {}", token.token))
    }
}
