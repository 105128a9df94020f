//! Asks the issuer where its keys are, and for its keys.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use jsonwebtoken::jwk::Jwk;
use reqwest::{Certificate, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{IssuerError, settings::is_private};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(8);
/// What an answer may weigh.
const LARGEST_ANSWER: usize = 1 << 20;

/// A client of the issuer.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    issuer: Url,
}

/// What of the discovery document matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Keys, one by one: a kind that is not known must not hide the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Client {
    pub(super) fn new(issuer: Url, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none());
        if let Some(path) = ca_file {
            let wrong = || format!("cannot read the certificates in {}", path.display());
            let pem = fs::read(path).with_context(wrong)?;
            let certificates = Certificate::from_pem_bundle(&pem).with_context(wrong)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().context("cannot set up TLS")?;
        Ok(Self { http, issuer })
    }

    /// The keys that the issuer signs with now.
    pub(super) async fn keys(&self) -> Result<Vec<Jwk>, IssuerError> {
        let base = self.issuer.as_str().trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let found: Discovery = self.get(&url).await?;
        if found.issuer.trim_end_matches('/') != base {
            let reason = format!("it names the issuer {}", found.issuer);
            return Err(IssuerError::Unfit { url, reason });
        }
        let has_safe_keys = Url::parse(&found.jwks_uri).is_ok_and(|url| is_private(&url));
        if !has_safe_keys {
            let reason = format!("its keys are at {}, which is not https", found.jwks_uri);
            return Err(IssuerError::Unfit { url, reason });
        }
        let set: KeySet = self.get(&found.jwks_uri).await?;
        let keys = set.keys.into_iter();
        Ok(keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect())
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, IssuerError> {
        let unreachable = |source| IssuerError::Unreachable {
            url: url.to_owned(),
            source,
        };
        let unfit = |reason| IssuerError::Unfit {
            url: url.to_owned(),
            reason,
        };
        let answer = self.http.get(url).send().await.map_err(unreachable)?;
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
}
