//! The issuer: where it is, and what its token endpoint answers.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Certificate, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::store::Place;
use crate::client::is_local;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(15);
/// What an answer may weigh.
const LARGEST_ANSWER: usize = 1 << 20;

/// What can go wrong at the issuer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("the issuer does not answer at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the issuer's answer at {url} makes no sense: {reason}")]
    Unfit { url: String, reason: String },
    /// It may answer otherwise later.
    #[error("the issuer answers {status} at {url}{reason}")]
    Failed {
        url: String,
        status: StatusCode,
        reason: String,
    },
    #[error(
        "the issuer gives no ID token: sign in again (`metahubctl auth login`), and have its \
         client give one for a refresh token, too"
    )]
    NoIdToken,
    #[error("the sign-in has ended, and the issuer gave no refresh token")]
    Over,
    /// By an error code of RFC 6749 or RFC 8628.
    #[error("the issuer refuses: {error}")]
    Refused { error: String },
    #[error("{url} is not https, and others could read the sign-in")]
    PlainText { url: String },
    #[error(
        "the issuer lets no one sign in with a code; a client that may use the device flow is needed"
    )]
    NoDeviceFlow,
    #[error("the sign-in was not confirmed in time")]
    TooLate,
}

/// An issuer and where its endpoints are.
#[derive(Debug)]
pub(crate) struct Issuer {
    http: reqwest::Client,
    client_id: String,
    endpoints: Endpoints,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    issuer: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
}

/// What a sign-in gives.
#[derive(Debug, Deserialize)]
pub(crate) struct Tokens {
    #[serde(default)]
    pub(crate) id_token: Option<SecretString>,
    #[serde(default)]
    pub(crate) access_token: Option<SecretString>,
    #[serde(default)]
    pub(crate) refresh_token: Option<SecretString>,
    /// Seconds; some write them as a text.
    #[serde(default)]
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

impl Tokens {
    /// When the access token ends.
    pub(super) fn access_until(&self) -> Option<SystemTime> {
        let given = self.expires_in.as_ref()?;
        let secs = given.as_u64().or_else(|| given.as_str()?.parse().ok())?;
        SystemTime::now().checked_add(Duration::from_secs(secs))
    }
}

impl SignInError {
    /// Whether the refresh token is of no use any more. All else may pass.
    pub(super) fn ends_sign_in(&self) -> bool {
        match self {
            Self::Over => true,
            Self::Refused { error } => error.split(':').next() == Some("invalid_grant"),
            _ => false,
        }
    }
}

impl Issuer {
    /// Asks the issuer where its endpoints are.
    pub(crate) async fn find(place: &Place) -> Result<Self, SignInError> {
        let base = place.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        check_private(&url)?;
        let http = client(place).map_err(|source| unreachable(&url, source))?;
        let answer = http.get(&url).send().await;
        let answer = answer.and_then(Response::error_for_status);
        let answer = answer.map_err(|source| unreachable(&url, source))?;
        let endpoints: Endpoints = parsed(&url, &body(&url, answer).await?)?;
        if endpoints.issuer.trim_end_matches('/') != base {
            let reason = format!("it names the issuer {}", endpoints.issuer);
            return Err(SignInError::Unfit { url, reason });
        }
        endpoints.check()?;
        Ok(Self {
            http,
            client_id: place.client_id.clone(),
            endpoints,
        })
    }

    /// Where a sign-in with a code begins.
    pub(super) fn device_endpoint(&self) -> Result<&str, SignInError> {
        let endpoint = self.endpoints.device_authorization_endpoint.as_deref();
        endpoint.ok_or(SignInError::NoDeviceFlow)
    }

    /// What the token endpoint gives for a grant.
    pub(super) async fn tokens(&self, grant: &[(&str, &str)]) -> Result<Tokens, SignInError> {
        self.post(&self.endpoints.token_endpoint, grant).await
    }

    /// New tokens for a refresh token.
    pub(crate) async fn refresh(
        &self,
        token: &SecretString,
        scope: Option<&str>,
    ) -> Result<Tokens, SignInError> {
        let mut grant = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose_secret()),
        ];
        grant.extend(scope.map(|scope| ("scope", scope)));
        self.tokens(&grant).await
    }

    /// Tells the issuer that a refresh token is not needed any more (RFC 7009).
    pub(crate) async fn revoke(&self, token: &SecretString) -> Result<(), SignInError> {
        let Some(url) = &self.endpoints.revocation_endpoint else {
            return Ok(());
        };
        let form = [
            ("client_id", self.client_id.as_str()),
            ("token", token.expose_secret()),
            ("token_type_hint", "refresh_token"),
        ];
        let sent = self.http.post(url).form(&form).send().await;
        sent.map(|_| ()).map_err(|source| unreachable(url, source))
    }

    /// Sends a form, with the client's id, and reads the answer.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<T, SignInError> {
        let mut form = form.to_vec();
        form.push(("client_id", &self.client_id));
        let sent = self.http.post(url).form(&form).send().await;
        let answer = sent.map_err(|source| unreachable(url, source))?;
        let status = answer.status();
        let body = body(url, answer).await?;
        if status.is_success() {
            return parsed(url, &body);
        }
        let refusal = serde_json::from_slice::<Refusal>(&body).ok();
        let is_final = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        let refusal = match refusal {
            Some(refusal) if is_final => refusal,
            refusal => {
                let reason = refusal.map_or_else(String::new, |it| format!(" ({})", it.error));
                let url = url.to_owned();
                return Err(SignInError::Failed {
                    url,
                    status,
                    reason,
                });
            }
        };
        let error = match refusal.error_description.as_str() {
            "" => refusal.error,
            why if is_transient(&refusal.error) || why.chars().any(char::is_control) => {
                refusal.error
            }
            why => format!("{}: {why}", refusal.error),
        };
        Err(SignInError::Refused { error })
    }
}

impl Endpoints {
    fn check(&self) -> Result<(), SignInError> {
        check_private(&self.token_endpoint)?;
        let others = [
            &self.device_authorization_endpoint,
            &self.revocation_endpoint,
        ];
        let mut others = others.into_iter().flatten();
        others.try_for_each(|url| check_private(url))
    }
}

/// The certificates of authorities in a PEM file, at least one, as they stand
/// there.
pub(crate) fn read_authorities(path: &Path) -> anyhow::Result<String> {
    let wrong = || format!("cannot read the certificates in {}", path.display());
    let pem = fs::read_to_string(path).with_context(wrong)?;
    let certificates = Certificate::from_pem_bundle(pem.as_bytes()).with_context(wrong)?;
    ensure!(
        !certificates.is_empty(),
        "{} holds no certificate: it starts with `-----BEGIN CERTIFICATE-----`",
        path.display()
    );
    Ok(pem)
}

fn client(place: &Place) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none());
    if let Some(pem) = &place.issuer_ca_pem {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    builder.build()
}

/// Whether a refusal only says to ask again: it is told by its code.
fn is_transient(error: &str) -> bool {
    matches!(error, "authorization_pending" | "slow_down")
}

/// When a token ends, as it says itself. Whether that is true is the control
/// plane's business.
pub(super) fn expires(id_token: &str) -> Option<SystemTime> {
    let claims = id_token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let end = Duration::try_from_secs_f64(claims.exp).ok()?;
    UNIX_EPOCH.checked_add(end)
}

fn check_private(url: &str) -> Result<(), SignInError> {
    let parsed = Url::parse(url).ok();
    let is_private =
        parsed.is_some_and(|it| it.scheme() == "https" || (it.scheme() == "http" && is_local(&it)));
    match is_private {
        true => Ok(()),
        false => Err(SignInError::PlainText { url: url.into() }),
    }
}

async fn body(url: &str, mut answer: Response) -> Result<Vec<u8>, SignInError> {
    let mut body = Vec::new();
    let broken = |source| unreachable(url, source);
    while let Some(piece) = answer.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > LARGEST_ANSWER {
            return Err(unfit(url, "it is too large"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The body itself never shows: it may hold tokens.
fn parsed<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, SignInError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        unfit(url, &format!("it cannot be read at {place}"))
    })
}

fn unreachable(url: &str, source: reqwest::Error) -> SignInError {
    SignInError::Unreachable {
        url: url.into(),
        source,
    }
}

fn unfit(url: &str, reason: &str) -> SignInError {
    SignInError::Unfit {
        url: url.into(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_when_its_claims_say() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp": 1700000000}"#);

        let end = expires(&format!("e30.{claims}.sig"));

        assert_eq!(end, Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        assert_eq!(expires("opaque"), None);
    }

    #[test]
    fn an_endpoint_over_plain_http_is_refused_but_on_this_host() {
        assert!(check_private("https://id.example.com/token").is_ok());
        assert!(check_private("http://127.0.0.1:8080/token").is_ok());
        assert!(check_private("http://id.example.com/token").is_err());
    }
}
