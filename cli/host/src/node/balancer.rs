//! The workers' balancer: one origin, and the credential sent to this origin
//! only.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hickory_resolver::TokioResolver;
use http::{
    HeaderValue, Request, Response,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::{debug, info, warn};
use url::{Host, Url};

use super::{
    dialer::{DialError, Dialer, Stream, TlsError, tls_connector},
    pool::{Pool, Sender},
};
use crate::credential::HostCredential;

/// The size limit of one read, and of a response's head, in bytes.
const MAX_BUFFER: usize = 256 << 10;

/// The balancer, with one credential.
pub(super) struct Balancer {
    origin: String,
    authority: HeaderValue,
    authorization: HeaderValue,
    dialer: Dialer,
    pool: Pool,
    is_lost: AtomicBool,
}

/// Reasons to reject a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UnusableCredential {
    /// The address is not a registry's address.
    #[error("{0} is not the address of a registry: write https:// and a host")]
    Address(String),
    /// The secret would cross the network in plain text.
    #[error(
        "the secret would be sent to {0} in plain text: serve the registry by https, or set --plain-http"
    )]
    PlainText(String),
    /// The login's name or its secret cannot be in a header.
    #[error("the login cannot be sent in a header")]
    Login,
    /// TLS cannot be set up.
    #[error("cannot verify {origin}")]
    Tls {
        /// The registry's address.
        origin: String,
        /// The TLS error.
        #[source]
        source: TlsError,
    },
}

/// Reasons for a request without a response.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the connection broke before the answer")]
    Broken(#[from] hyper::Error),
    #[error("no answer in time")]
    Timeout,
}

impl Balancer {
    /// Builds the client for the registry of `credential`. Does not connect
    /// yet.
    pub(super) fn new(
        credential: &HostCredential,
        plain_http: bool,
        resolver: TokioResolver,
    ) -> Result<Self, UnusableCredential> {
        let url = &credential.registry;
        let origin = url.origin().ascii_serialization();
        let not_registry = || UnusableCredential::Address(origin.clone());
        let host = url.host().ok_or_else(not_registry)?.to_owned();
        let port = url.port_or_known_default().ok_or_else(not_registry)?;
        if !matches!(url.path(), "" | "/") || !matches!(url.scheme(), "http" | "https") {
            return Err(not_registry());
        }
        let tls = match url.scheme() {
            "https" => {
                let name = server_name(&host).ok_or_else(not_registry)?;
                let connector = tls_connector(credential.registry_ca_pem.as_deref());
                let tls = |source| UnusableCredential::Tls {
                    origin: origin.clone(),
                    source,
                };
                Some((connector.map_err(tls)?, name))
            }
            _ if plain_http || is_loopback(&host) => None,
            _ => return Err(UnusableCredential::PlainText(origin)),
        };
        Ok(Self {
            authority: authority(url).ok_or_else(not_registry)?,
            authorization: authorization(credential).ok_or(UnusableCredential::Login)?,
            dialer: Dialer::new(host, port, tls, resolver),
            pool: Pool::default(),
            is_lost: AtomicBool::new(false),
            origin,
        })
    }

    /// The balancer's address.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether `other` has the same address, login and secret.
    pub(super) fn has_credential_of(&self, other: &Self) -> bool {
        self.origin == other.origin && self.authorization == other.authorization
    }

    /// Sends `request`, a `GET` or `HEAD`, with the host's credential and
    /// returns the response. A connection that breaks before the response is
    /// replaced once: the balancer may have closed an idle connection in the
    /// meantime, and a stopping balancer closes new ones.
    pub(super) async fn send(
        &self,
        mut request: Request<Empty<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(AUTHORIZATION, self.authorization.clone());
        let answered = match self.exchange(self.pool.take(), &request, limit).await {
            Err(error @ (ExchangeError::Broken(_) | ExchangeError::Dial(_))) => {
                debug!(%error, "will send a request once more");
                self.exchange(None, &request, limit).await
            }
            answered => answered,
        };
        self.note(answered.as_ref().err());
        answered
    }

    async fn exchange(
        &self,
        idle: Option<Sender>,
        request: &Request<Empty<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let mut sender = match idle {
            Some(sender) => sender,
            None => match self.dialer.connect().await? {
                Stream::Plain(stream) => open(stream).await?,
                Stream::Tls(stream) => open(stream).await?,
            },
        };
        let answer = timeout(limit, sender.send_request(request.clone())).await;
        let answer = answer.map_err(|_| ExchangeError::Timeout)??;
        self.pool.keep(sender);
        Ok(answer)
    }

    /// Logs the loss of the balancer, and its return.
    fn note(&self, error: Option<&ExchangeError>) {
        let origin = &self.origin;
        match error {
            Some(error) => {
                if !self.is_lost.swap(true, Relaxed) {
                    let error = error_chain(error);
                    warn!(
                        registry = origin,
                        error, "cannot reach {origin}; answers 503"
                    );
                }
            }
            None => {
                if self.is_lost.load(Relaxed) && self.is_lost.swap(false, Relaxed) {
                    info!(registry = origin, "reaches {origin} again");
                }
            }
        }
    }
}

/// Starts HTTP/1.1 on a new connection.
async fn open<S>(stream: S) -> Result<Sender, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_BUFFER);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection to the balancer broke");
        }
    });
    Ok(sender)
}

/// An error and its causes, in one line.
pub(super) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
    }
}

fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Ipv4(ip) => Some(std::net::IpAddr::V4(*ip).into()),
        Host::Ipv6(ip) => Some(std::net::IpAddr::V6(*ip).into()),
        Host::Domain(name) => ServerName::try_from(name.clone()).ok(),
    }
}

/// The host, and its port unless it is the scheme's default.
fn authority(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    HeaderValue::try_from(authority).ok()
}

fn authorization(credential: &HostCredential) -> Option<HeaderValue> {
    let (login, secret) = (&credential.login, credential.secret.expose_secret());
    // The first colon ends the login's name (RFC 7617).
    if login.is_empty() || login.contains(':') {
        return None;
    }
    let encoded = STANDARD.encode(format!("{login}:{secret}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
