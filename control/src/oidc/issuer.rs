//! Asks the issuer for its keys, and for what it says of people elsewhere.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use jsonwebtoken::jwk::Jwk;
use reqwest::{Certificate, RequestBuilder, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{IssuerError, claims::Claims, settings::is_private};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(8);
/// What an answer may weigh.
const LARGEST_ANSWER: usize = 1 << 20;

/// A client of the issuer.
#[derive(Debug)]
pub(super) struct Client {
    issuer: Url,
    ca_file: Option<PathBuf>,
}

/// What of the discovery document matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
}

/// Keys, one by one: a kind that is not known must not hide the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Client {
    pub(super) fn new(issuer: Url, ca_file: Option<PathBuf>) -> anyhow::Result<Self> {
        let client = Self { issuer, ca_file };
        client.http()?;
        Ok(client)
    }

    /// Reads the authorities anew: they may have been renewed.
    fn http(&self) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none());
        if let Some(path) = &self.ca_file {
            let wrong = || format!("cannot read the certificates in {}", path.display());
            let pem = fs::read(path).with_context(wrong)?;
            let certificates = Certificate::from_pem_bundle(&pem).with_context(wrong)?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().context("cannot set up TLS")
    }

    /// The keys that the issuer signs with now.
    pub(super) async fn keys(&self) -> Result<Vec<Jwk>, IssuerError> {
        let http = self.ready()?;
        let (url, found) = self.discovery(&http).await?;
        let has_safe_keys = Url::parse(&found.jwks_uri).is_ok_and(|url| is_private(&url));
        if !has_safe_keys {
            let reason = format!("its keys are at {}, which is not https", found.jwks_uri);
            return Err(IssuerError::Unfit { url, reason });
        }
        let set: KeySet = get(http.get(&found.jwks_uri), &found.jwks_uri).await?;
        let keys = set.keys.into_iter();
        Ok(keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect())
    }

    /// What it says of the person with this access token. `None`: it says no
    /// more than in the ID token.
    pub(super) async fn userinfo(&self, token: &str) -> Result<Option<Claims>, IssuerError> {
        let http = self.ready()?;
        let (_, found) = self.discovery(&http).await?;
        let url = found.userinfo_endpoint;
        let is_safe = |url: &String| Url::parse(url).is_ok_and(|url| is_private(&url));
        match url.filter(is_safe) {
            Some(url) => get(http.get(&url).bearer_auth(token), &url).await.map(Some),
            None => Ok(None),
        }
    }

    fn ready(&self) -> Result<reqwest::Client, IssuerError> {
        self.http().map_err(|error| IssuerError::Unfit {
            url: self.issuer.to_string(),
            reason: format!("{error:#}"),
        })
    }

    async fn discovery(&self, http: &reqwest::Client) -> Result<(String, Discovery), IssuerError> {
        let base = self.issuer.as_str().trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let found: Discovery = get(http.get(&url), &url).await?;
        if found.issuer.trim_end_matches('/') != base {
            let reason = format!("it names the issuer {}", found.issuer);
            return Err(IssuerError::Unfit { url, reason });
        }
        Ok((url, found))
    }
}

async fn get<T: DeserializeOwned>(request: RequestBuilder, url: &str) -> Result<T, IssuerError> {
    let unreachable = |source| IssuerError::Unreachable {
        url: url.to_owned(),
        source,
    };
    let unfit = |reason| IssuerError::Unfit {
        url: url.to_owned(),
        reason,
    };
    let answer = request.send().await.map_err(unreachable)?;
    let mut answer = answer.error_for_status().map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + piece.len() > LARGEST_ANSWER {
            return Err(unfit("it is too large".into()));
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).map_err(|error| unfit(error.to_string()))
}
