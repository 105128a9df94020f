//! One request on the wire, with the redirects that it leads to.
//!
//! Redirects are followed by hand: the pass goes to the origin that was asked
//! first and nowhere else, also not when a redirect leads back to it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tracing::{Instrument, debug, warn};
use url::Url;

use super::{
    Error, Metrics, Place, Settings, Upstream, Why,
    clock::Clock,
    dialer::{
        CannotDial, Dialer, Lane, TlsFault, is_lost_connection, is_spelled_closer, is_too_close,
        spelled, tls_fault,
    },
    error::Distrust,
    header_text::header_url,
    limits::{Limits, Permit},
    metrics::Kind,
    reach::Reach,
    reason,
    trust::{is_same_origin, is_trusted_redirect, with_scheme_of},
    weather::unavailable,
};
use crate::telemetry;

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
/// The memory that a body gets at first, in bytes.
const BODY_STEP: usize = 16 << 10;
/// How many times the longest pause a small body may take as a whole.
const SMALL_BODY_PAUSES: u32 = 2;
/// How long the body of a refusal is waited for.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);

/// The way out: clients, timeouts and counters.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) dialer: Dialer,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// On whose behalf.
    pub(crate) upstream: &'a Upstream,
    /// What it is for.
    pub(crate) kind: Kind,
    /// `GET` or `HEAD`; `POST` with a form.
    pub(crate) method: Method,
    /// A form to post to `url`, and nowhere else: a redirect is the answer then.
    pub(crate) form: Option<SecretString>,
    /// Where to.
    pub(crate) url: Url,
    /// Sent along, also after a redirect. No secrets.
    pub(crate) headers: HeaderMap,
    /// The `Authorization`, for `url`'s origin only.
    pub(crate) pass: Option<HeaderValue>,
    /// The nearest address that `url` may lead to.
    pub(crate) reach: Reach,
    /// Give a redirect to another host back, rather than follow it, unless it
    /// leads to this one.
    pub(crate) hand_over: Option<&'a str>,
}

/// The answer to a call, its body still to be read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// Where the first answer came from.
    pub(crate) reach: Reach,
    /// Whether it is the answer of the origin that was asked.
    pub(crate) is_at_home: bool,
    /// Where it redirects to, for another to follow.
    pub(crate) handed_over: Option<Url>,
    /// Held until the answer was read.
    pub(crate) _permit: Option<Permit>,
}

impl Call<'_> {
    /// Whether a redirect to `next` is for the client to follow: never to where
    /// it might take its password along, nor closer than the upstream is.
    fn hands_over(&self, next: &Url, reach: Reach) -> bool {
        self.hand_over.is_some_and(|own| {
            let host = next.host_str().unwrap_or_default();
            next.host() != self.url.host()
                && !host.eq_ignore_ascii_case(own)
                && !is_spelled_closer(next, reach)
        })
    }
}

impl Wire {
    pub(crate) fn new(dialer: Dialer, settings: Settings, clock: Clock) -> Self {
        let metrics = Metrics::default();
        Self {
            limits: Limits::new(&settings, &metrics),
            dialer,
            settings,
            metrics,
            clock,
        }
    }

    /// Sends `call`, and follows redirects. Any status but a redirect is an
    /// answer, and so is a redirect that is handed over.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Reply, Error> {
        let mut url = call.url.clone();
        let mut reach = call.reach;
        let mut is_at_home = true;
        for hop in 0..=MAX_REDIRECTS {
            let (response, seen) = self.hop(&call, &url, reach, is_at_home).await?;
            if hop == 0 {
                reach = seen;
            }
            let next = match call.form {
                Some(_) => None,
                None => self.redirect(&call, &url, &response)?,
            };
            let Some(next) = next.clone().filter(|next| !call.hands_over(next, reach)) else {
                return Ok(Reply {
                    handed_over: next,
                    _permit: None,
                    response,
                    reach,
                    is_at_home,
                });
            };
            is_at_home &= is_same_origin(&call.url, &next);
            url = next;
        }
        Err(Error::BadAnswer {
            upstream: call.upstream.name.clone(),
            what: "too many redirects",
        })
    }

    /// Reads a body of `limit` bytes at most.
    pub(crate) async fn read(
        &self,
        upstream: &Upstream,
        mut response: Response,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge {
            upstream: upstream.name.clone(),
            limit,
        };
        let announced = response.content_length().unwrap_or(0);
        if announced > limit as u64 {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let mut permits = Vec::new();
        let whole = async {
            while let Some(chunk) = self.chunk(upstream, &mut response).await? {
                let length = body.len() + chunk.len();
                if length > limit {
                    return Err(too_large());
                }
                if length > body.capacity() {
                    let step = chunk.len().max(BODY_STEP).max(body.capacity() / 2);
                    permits.push(self.limits.memory(upstream, step).await?);
                    body.reserve_exact(step);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        let longest = self.settings.stall_timeout * SMALL_BODY_PAUSES;
        timeout(longest, whole)
            .await
            .unwrap_or_else(|_| Err(timed_out(upstream)))?;
        // Without what was reserved and is not used.
        Ok(Bytes::from(body.into_boxed_slice()))
    }

    /// Why `response` refuses, in the upstream's own words. Holds neither the
    /// upstream's credential nor the `pass` that was refused.
    pub(crate) async fn reason(
        &self,
        upstream: &Upstream,
        response: Response,
        pass: Option<HeaderValue>,
    ) -> Option<Box<str>> {
        let media_type = response.headers().get(header::CONTENT_TYPE).cloned();
        let is_plain_text = media_type.is_some_and(|it| it.as_bytes().starts_with(b"text/plain"));
        let body = self.read(upstream, response, reason::MAX_BODY);
        let body = timeout(REASON_TIMEOUT, body).await.ok()?.ok()?;
        let credential = upstream.credential();
        let password = credential.map(|it| it.password.expose_secret());
        let pass = pass.as_ref().and_then(|pass| pass.to_str().ok());
        let pass = pass.and_then(|pass| pass.split_once(' '));
        let secrets = password.into_iter().chain(pass.map(|(_, secret)| secret));
        reason::reason(is_plain_text, &body, secrets)
    }

    async fn chunk(
        &self,
        upstream: &Upstream,
        response: &mut Response,
    ) -> Result<Option<Bytes>, Error> {
        timeout(self.settings.stall_timeout, response.chunk())
            .await
            .map_err(|_| timed_out(upstream))?
            .map_err(|error| broken(upstream, error))
    }

    async fn hop(
        &self,
        call: &Call<'_>,
        url: &Url,
        reach: Reach,
        is_at_home: bool,
    ) -> Result<(Response, Reach), Error> {
        let upstream = call.upstream;
        let transport = upstream.transport(url, &self.settings.proxies);
        let is_proxied = transport.proxy.is_some();
        let lane = match call.kind {
            Kind::Blob => Lane::Own,
            _ if upstream.speaks_http1() => Lane::Own,
            _ => Lane::Shared,
        };
        let span = tracing::info_span!(
            "upstream.request",
            otel.kind = "client",
            upstream = %upstream.name,
            kind = call.kind.as_str(),
            http.request.method = %call.method,
            http.response.status_code = tracing::field::Empty,
        );
        let mut headers = call.headers.clone();
        if is_at_home {
            telemetry::inject(&span, &mut headers);
            headers.extend(call.pass.clone().map(|pass| (header::AUTHORIZATION, pass)));
        }
        let sent = async {
            let request = |lane| self.request(call, (lane, url, reach), &headers, is_at_home);
            match self.attempt(upstream, request(lane)?).await? {
                Err(error) if is_lost_connection(&error) => {
                    let error = error.without_url();
                    debug!(upstream = %upstream.name, %error, "sends a request again");
                    self.attempt(upstream, request(Lane::Once)?).await?
                }
                sent => sent,
            }
            .map_err(|error| unsent(upstream, url, is_proxied, error))
        };
        let sent = sent.instrument(span.clone()).await;
        match &sent {
            Ok(response) => {
                let code = response.status().as_u16();
                span.record("http.response.status_code", code);
                self.metrics.answered(&upstream.name, call.kind, code);
            }
            Err(error) => self.metrics.failed(&upstream.name, call.kind, error),
        }
        let response = sent.map_err(|error| match is_at_home {
            true if call.kind != Kind::Token || is_same_origin(url, &upstream.url) => error,
            true => error.at(Place::TokenServer),
            false => error.at(Place::RedirectTarget),
        })?;
        // A proxy's address says nothing about the host behind it.
        let address = response.remote_addr().filter(|_| !is_proxied);
        let seen = address.map(|address| Reach::of(address.ip()));
        let seen = seen.or_else(|| spelled(url)).unwrap_or(Reach::Public);
        Ok((response, seen))
    }

    fn request(
        &self,
        call: &Call<'_>,
        (lane, url, reach): (Lane, &Url, Reach),
        headers: &HeaderMap,
        is_at_home: bool,
    ) -> Result<RequestBuilder, Error> {
        let upstream = call.upstream;
        let transport = upstream.transport(url, &self.settings.proxies);
        let client =
            self.dialer
                .client(lane, url, reach, transport)
                .map_err(|error| match error {
                    CannotDial::TooClose(_) => untrusted(upstream, url, Distrust::TooClose),
                    error => {
                        warn!(upstream = %upstream.name, %error, "cannot be asked");
                        unavailable(upstream, Why::Internal, None)
                    }
                })?;
        let request = client
            .request(call.method.clone(), url.clone())
            .headers(headers.clone());
        Ok(match call.form.as_ref().filter(|_| is_at_home) {
            Some(form) => request
                .header(header::CONTENT_TYPE, FORM)
                .body(form.expose_secret().to_owned()),
            None => request,
        })
    }

    /// Sends a request once.
    async fn attempt(
        &self,
        upstream: &Upstream,
        request: RequestBuilder,
    ) -> Result<Result<Response, reqwest::Error>, Error> {
        timeout(self.settings.header_timeout, request.send())
            .await
            .map_err(|_| timed_out(upstream))
    }

    fn redirect(
        &self,
        call: &Call<'_>,
        from: &Url,
        response: &Response,
    ) -> Result<Option<Url>, Error> {
        let upstream = call.upstream;
        let status = response.status().as_u16();
        let (true, Some(location)) = (
            matches!(status, 301 | 302 | 303 | 307 | 308),
            response.headers().get(header::LOCATION),
        ) else {
            return Ok(None);
        };
        let to = from
            .join(header_url(location).trim())
            .map_err(|_| Error::BadAnswer {
                upstream: upstream.name.clone(),
                what: "a redirect to nowhere",
            })?;
        let to = with_scheme_of(from, to);
        if !is_trusted_redirect(from, &to) {
            return Err(untrusted(upstream, &to, distrust(from, &to)));
        }
        if call.kind == Kind::Token && upstream.realm_reach(&to, Reach::Public).is_none() {
            return Err(untrusted(upstream, &to, distrust(&upstream.url, &to)));
        }
        Ok(Some(to))
    }
}

/// The error for an address that must not be asked.
pub(crate) fn untrusted(upstream: &Upstream, url: &Url, why: Distrust) -> Error {
    Error::Untrusted {
        upstream: upstream.name.clone(),
        host: url.host_str().unwrap_or("nowhere").into(),
        why,
    }
}

/// Why a registry at `from` may not lead to `to`.
pub(crate) fn distrust(from: &Url, to: &Url) -> Distrust {
    match to.scheme() {
        "http" | "https" if !to.username().is_empty() || to.password().is_some() => {
            Distrust::NoAddress
        }
        "http" if from.scheme() == "https" => Distrust::PlainText,
        "http" | "https" => Distrust::AnotherParty,
        _ => Distrust::NoAddress,
    }
}

/// The error for an answer that did not come in time.
pub(crate) fn timed_out(upstream: &Upstream) -> Error {
    Error::Timeout {
        upstream: upstream.name.clone(),
        place: Place::Upstream,
    }
}

/// The error for a request that got no answer.
fn unsent(upstream: &Upstream, url: &Url, is_proxied: bool, error: reqwest::Error) -> Error {
    let error = error.without_url();
    debug!(upstream = %upstream.name, ?error, "got no answer");
    if is_too_close(&error) {
        untrusted(upstream, url, Distrust::TooClose)
    } else if let Some(fault) = tls_fault(&error) {
        let why = match fault {
            TlsFault::Certificate(fault) => Why::Certificate(fault),
            TlsFault::CertificateWanted => Why::CertificateWanted,
            TlsFault::NotTls => Why::NotTls,
        };
        warn!(upstream = %upstream.name, ?error, "cannot be asked: {why}");
        unavailable(upstream, why, None)
    } else if error.is_connect() {
        let why = match is_proxied {
            true => Why::Proxy,
            false => Why::Unreachable,
        };
        unavailable(upstream, why, None)
    } else if error.is_timeout() {
        timed_out(upstream)
    } else {
        unavailable(upstream, Why::Broken, None)
    }
}

/// The error for a connection that broke in the middle of an answer.
pub(crate) fn broken(upstream: &Upstream, error: reqwest::Error) -> Error {
    // Without its URL: a redirect's may hold a signature.
    let error = error.without_url();
    debug!(upstream = %upstream.name, ?error, "an answer broke off");
    unavailable(upstream, Why::Broken, None)
}
