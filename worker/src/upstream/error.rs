//! What can go wrong between the worker and an upstream.
//!
//! Every error can be shared by the clients that wait for one answer, names
//! the upstream, and holds neither secret nor address with a query.

use std::{fmt, time::Duration};

use http::StatusCode;

use super::tls::CertificateFault;
use crate::reference::Digest;

/// A failed request to an upstream. `upstream` is its configured name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The upstream has no such manifest, blob or repository.
    #[error("{upstream} has no such content")]
    NotFound {
        /// Who said so.
        upstream: Box<str>,
    },

    /// The upstream refuses, with a fresh token.
    #[error(
        "{upstream} denies access, or has no such repository{}",
        because(reason)
    )]
    Denied {
        /// Who said so.
        upstream: Box<str>,
        /// Its own words, cleaned.
        reason: Option<Box<str>>,
    },

    /// The upstream refuses what was asked for, by a policy of its own or as not
    /// valid.
    #[error("{upstream} refuses with {status}{}", because(reason))]
    Refused {
        /// The upstream.
        upstream: Box<str>,
        /// Its status, 4xx.
        status: StatusCode,
        /// Its own words, cleaned.
        reason: Option<Box<str>>,
    },

    /// The upstream's quota is used up.
    #[error("{upstream} limits how often MetaHub may pull")]
    RateLimited {
        /// Who said so.
        upstream: Box<str>,
        /// When to try again.
        retry_after: Duration,
    },

    /// The upstream is down, or answers with errors of its own.
    #[error("{upstream}{place} is not available: {why}")]
    Unavailable {
        /// Who is not.
        upstream: Box<str>,
        /// Which of its hosts.
        place: Place,
        /// What was seen.
        why: Why,
        /// When to try again.
        retry_after: Duration,
    },

    /// The upstream took too long.
    #[error("{upstream}{place} did not answer in time")]
    Timeout {
        /// Who did not.
        upstream: Box<str>,
        /// Which of its hosts.
        place: Place,
    },

    /// A manifest that is not served.
    #[error("{upstream} sent a manifest that cannot be served: {fault}")]
    BadManifest {
        /// Who sent it.
        upstream: Box<str>,
        /// The fault of the manifest.
        fault: ManifestFault,
    },

    /// An answer without an error that holds no manifest: a page of a firewall
    /// or of a sign-in, for example.
    #[error("{upstream} sent {what} in place of a manifest")]
    NoManifest {
        /// The upstream.
        upstream: Box<str>,
        /// What came.
        what: Box<str>,
    },

    /// Bytes that do not hash to their digest.
    #[error("{upstream} sent content that is not {expected}")]
    DigestMismatch {
        /// Who sent it.
        upstream: Box<str>,
        /// What was asked for or announced.
        expected: Digest,
    },

    /// A body beyond what is taken.
    #[error("{upstream} sent more than {limit} bytes")]
    TooLarge {
        /// Who sent it.
        upstream: Box<str>,
        /// The most that is taken, in bytes.
        limit: usize,
    },

    /// The upstream points to an address that credentials or requests must
    /// not go to.
    #[error("{upstream} points to {host}, which is not trusted: {why}")]
    Untrusted {
        /// Who points there.
        upstream: Box<str>,
        /// The host that was refused.
        host: Box<str>,
        /// The reason why the host is refused.
        why: Distrust,
    },

    /// The worker starts no more work of this kind for now.
    #[error("this worker is at its limit of {0}; try again in a few seconds")]
    Overloaded(Limit),

    /// An answer that breaks the registry protocol.
    #[error("{upstream} sent an answer that is not understood: {what}")]
    BadAnswer {
        /// Who sent it.
        upstream: Box<str>,
        /// Which part is wrong.
        what: &'static str,
    },
}

/// A host that answers for an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// The upstream itself.
    #[default]
    Upstream,
    /// Its token server.
    TokenServer,
    /// The host that it redirects to.
    RedirectTarget,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "",
            Self::TokenServer => "'s token server",
            Self::RedirectTarget => "'s redirect target",
        })
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Distrust {
    /// It is closer to the worker than what points to it.
    #[error(
        "its address is closer to the worker than the registry is; a token server may be there with `--token-host` of `metahubctl upstream create`"
    )]
    TooClose,
    /// It is plain http, and the registry is https.
    #[error("it is named with the scheme http:, and the registry is https:")]
    PlainText,
    /// A token server that belongs to somebody else.
    #[error(
        "the account is not shown to a token server of another party; allow it with `--token-host` of `metahubctl upstream create`"
    )]
    AnotherParty,
    /// It names a user, or a protocol that is not HTTP.
    #[error("it names a user, or is neither http: nor https:")]
    NoAddress,
}

/// Why an upstream counts as not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Why {
    /// No connection: refused, no such host, TLS failed.
    #[error("it cannot be reached")]
    Unreachable,
    /// No connection through a proxy: refused, no such host, no tunnel.
    #[error("its proxy cannot be reached, or does not lead to it")]
    Proxy,
    /// No connection: its certificate is not accepted.
    #[error("its certificate is not trusted: {0}")]
    Certificate(CertificateFault),
    /// It wants to see a certificate of the worker.
    #[error("it wants a client certificate: see `--client-cert` of `metahubctl upstream create`")]
    CertificateWanted,
    /// It does not answer in TLS.
    #[error("it does not answer in TLS: if it speaks plain http, its URL is http://")]
    NotTls,
    /// The connection broke before the answer was whole.
    #[error("its connection broke")]
    Broken,
    /// It answered with an error of its own.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It failed a moment ago and is left alone for now.
    #[error("it failed a moment ago")]
    Resting,
    /// The worker failed while it was asking.
    #[error("asking it failed")]
    Internal,
}

/// A bound on what upstreams take of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Limit {
    /// Of requests to upstreams that have no answer yet.
    #[error("requests to upstreams (--max-upstream-requests)")]
    Requests,
    /// Of those that one login has started.
    #[error("requests to upstreams by one login (--max-upstream-requests-per-login)")]
    Login,
    /// Of memory for bodies that are being read.
    #[error("memory for manifests and lists (--small-body-memory)")]
    Memory,
}

/// Why a manifest is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ManifestFault {
    /// It is not a JSON object, or too deep.
    #[error("it is not JSON")]
    NotJson,
    /// It could be read as an index and as an image.
    #[error("it is ambiguous")]
    Ambiguous,
    /// Its body and its header name different media types.
    #[error("its header and its body name different media types")]
    MediaType,
    /// It is of docker's first schema.
    #[error("it is of docker's schema 1, which clients no longer read; push the image again")]
    Schema1,
}

impl Error {
    /// Whether the same request may succeed a little later: cached content may
    /// be served instead. Permission is not stale data.
    pub(crate) fn is_weather(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::Overloaded(_)
        )
    }

    /// Whether the upstream has said that the content is not there or not to be
    /// had. After any other error, what is cached may still be served.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. } | Self::Denied { .. } | Self::Refused { .. }
        )
    }

    /// The same failure, of another host than the upstream itself.
    pub(crate) fn at(mut self, elsewhere: Place) -> Self {
        if let Self::Unavailable { place, .. } | Self::Timeout { place, .. } = &mut self {
            *place = elsewhere;
        }
        self
    }

    /// Whether `GET` can settle a `HEAD` that failed like this: not where the
    /// upstream was not reached, or wants fewer requests.
    pub(crate) fn is_for_get_to_settle(&self) -> bool {
        let is_unreached = matches!(
            self,
            Self::Unavailable {
                why: Why::Unreachable
                    | Why::Proxy
                    | Why::Certificate(_)
                    | Why::CertificateWanted
                    | Why::NotTls
                    | Why::Resting
                    | Why::Internal,
                ..
            }
        );
        !is_unreached && !matches!(self, Self::RateLimited { .. } | Self::Overloaded(_))
    }

    /// When the client should try again, where that is known.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}

fn because(reason: &Option<Box<str>>) -> String {
    reason
        .as_ref()
        .map(|it| format!(": {it}"))
        .unwrap_or_default()
}
