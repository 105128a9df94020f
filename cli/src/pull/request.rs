//! Requests to a registry, with one account for all of them.

use std::time::Duration;

use anyhow::{Context, ensure};
use metahub_policy::MAX_INDEX_BYTES;
use reqwest::{Method, Response, StatusCode, header::ACCEPT, redirect::Policy};
use secrecy::ExposeSecret;
use url::Url;

use super::account::Account;
use crate::{
    client::is_local,
    demo::client::{MANIFEST_TYPES, refusal},
    failure::Failure,
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A registry, and who asks.
pub(super) struct Origin {
    http: reqwest::Client,
    url: Url,
    /// As docker names it.
    pub(super) host: String,
    account: Account,
}

impl Origin {
    /// The registry at `url`. The password goes there and nowhere else: no
    /// redirect is followed.
    pub(super) fn new(url: Url, host: String, account: Account) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none());
        if is_local(&url) {
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().context("cannot make an HTTP client")?,
            url,
            host,
            account,
        })
    }

    /// Asks for what is at `path`. Fails when the login is not let in.
    pub(super) async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Response> {
        let url = self.url.join(&format!("/v2/{path}"))?;
        let request = self.http.request(method, url).basic_auth(
            &self.account.name,
            Some(self.account.password.expose_secret()),
        );
        let answer = request.header(ACCEPT, MANIFEST_TYPES).send().await;
        let answer =
            answer.with_context(|| format!("cannot reach the registry at {}", self.url))?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let (registry, login) = (self.host.clone(), self.account.name.clone());
            return Err(Failure::LoginRefused { registry, login }.into());
        }
        Ok(answer)
    }

    /// Why it refused, in its own words.
    pub(super) async fn refusal(&self, answer: Response) -> String {
        format!(
            "the registry at {} says: {}",
            self.host,
            refusal(answer).await
        )
    }
}

/// The text of a header.
pub(super) fn header(answer: &Response, name: &str) -> Option<String> {
    let text = answer.headers().get(name)?.to_str().ok()?;
    let text = text.split(';').next().unwrap_or_default().trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The body, if it is not too large for a manifest.
pub(super) async fn body(mut answer: Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the content broke off")? {
        ensure!(
            bytes.len() + chunk.len() <= MAX_INDEX_BYTES,
            "it has more than {MAX_INDEX_BYTES} bytes"
        );
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The URL of a registry: as written, or plain HTTP on this host and HTTPS
/// elsewhere.
pub(crate) fn url(address: &str) -> anyhow::Result<Url> {
    let wrong = || format!("`{address}` is no registry");
    if address.starts_with("http://") || address.starts_with("https://") {
        return Url::parse(address).with_context(wrong);
    }
    let mut url = Url::parse(&format!("https://{address}")).with_context(wrong)?;
    if is_local(&url) {
        url = Url::parse(&format!("http://{address}")).with_context(wrong)?;
    }
    Ok(url)
}

/// The host and port of a registry, as docker writes them.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_without_a_scheme_is_asked_in_plain_text_on_this_host_only() {
        let text = |address: &str| url(address).unwrap().to_string();

        assert_eq!(text("127.0.0.1:7480"), "http://127.0.0.1:7480/");
        assert_eq!(text("hub.example:7480"), "https://hub.example:7480/");
        assert_eq!(text("http://hub.example"), "http://hub.example/");
        assert_eq!(host(&url("hub.example:7480").unwrap()), "hub.example:7480");
        assert!(url("").is_err());
    }
}
