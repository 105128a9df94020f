//! What a client is told when it does not get what it asked for.
//!
//! The only place that knows the distribution spec's error codes. A failing
//! upstream is never answered with 404, which clients take for final.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use metahub_policy::InvalidIndex;
use serde_json::json;

use super::{Route, body::Body, names::UnknownName, path::InvalidPath};
use crate::{
    auth::{BASIC, Refused},
    reference::{Digest, Reference, Repository},
    snapshot::Outdated,
    sync::Unanswered,
    upstream,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The methods of the pull side.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
/// When to come back to a worker that has no policy yet.
const SOON: Duration = Duration::from_secs(2);
/// When to come back to an upstream that does not say.
const LATER: Duration = Duration::from_secs(5);

/// What was asked for and is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A manifest or index.
    Manifest,
    /// A layer or config.
    Blob,
    /// A list of tags or referrers.
    List,
}

/// Why a request is not answered with what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// The client is not authenticated.
    #[error("{}", told(.0))]
    Unauthorized(Refused, HeaderValue),
    /// A limit refuses the client for now.
    #[error("{}; try again in {} seconds", .0, whole_seconds(*.1))]
    TooMany(&'static str, Duration),
    /// The worker has no policy yet.
    #[error("this worker has not heard from its control plane yet; try again")]
    NotReady,
    /// The request does not say clearly which host it is for.
    #[error(
        "say once which host this request is for: send one `Host` header, with the name of this registry and the same as an HTTP/2 request's `:authority`"
    )]
    Host,
    /// What asks for a token is not a form that can be used.
    #[error(
        "a token is given by GET, or by POST of a form with grant_type=password; there are no refresh tokens: keep the login's secret"
    )]
    Form,
    /// The path asks for nothing there can be.
    #[error("{}", explained(*.0))]
    Path(InvalidPath),
    /// The worker does not write.
    #[error("MetaHub only serves pulls: push to the upstream registry instead")]
    Write,
    /// There is no list of all repositories.
    #[error("MetaHub has no catalog: list repositories at the upstream registry")]
    Catalog,
    /// The name means nothing here.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The repository is not open to the client's user.
    #[error(
        "user `{user}` may not pull `{repository}`: ask an admin for a grant (metahubctl grant create --user {user} --repository {repository})"
    )]
    NoGrant {
        /// The user.
        user: Arc<str>,
        /// The upstream's name, `/`, and the repository there.
        repository: String,
    },
    /// Whether the repository is still open to anyone is not known.
    #[error(
        "restricted repositories are closed: {0}; see why this worker cannot reach its control plane"
    )]
    Outdated(Outdated),
    /// No variant fits the client's machine type.
    #[error("{0}")]
    NothingFits(String),
    /// The index cannot be selected from.
    #[error("the upstream's image index cannot be read: {0}")]
    Index(String),
    /// A recipe does not lead to what it is for.
    #[error("the trimmed index {0} cannot be made again: its source leaves another one")]
    NotRemade(Digest),
    /// The upstream does not have it, and nobody can tell whether a worker does.
    #[error(
        "the upstream has no such content, and whether it is a trimmed index is not known: {0}"
    )]
    NoControl(Unanswered),
    /// The upstream has no such content: a manifest, a blob or a repository, by
    /// its name.
    #[error("{upstream} has no {content}")]
    Missing {
        /// The upstream's name.
        upstream: Box<str>,
        content: String,
        wanted: Wanted,
    },
    /// The upstream did not deliver.
    #[error("{0}")]
    Upstream(upstream::Error, Wanted),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::refused(refused, BASIC)
    }
}

impl Error {
    /// The same, with the name of what `route` asks for in `repository`, if that
    /// is what is missing.
    pub(super) fn naming(self, route: &Route, repository: &Repository) -> Self {
        let Self::Upstream(upstream::Error::NotFound { upstream }, wanted) = self else {
            return self;
        };
        let content = match route {
            Route::Manifest(_, tag @ Reference::Tag(_)) => {
                format!("manifest `{repository}:{tag}`")
            }
            Route::Manifest(_, digest) => format!("manifest `{repository}@{digest}`"),
            Route::Blob(_, digest) => format!("blob `{repository}@{digest}`"),
            _ => format!("repository `{repository}`"),
        };
        Self::Missing {
            upstream,
            content,
            wanted,
        }
    }

    /// The client is not authenticated; `challenge` asks for a login.
    pub(crate) fn refused(refused: Refused, challenge: HeaderValue) -> Self {
        match refused {
            Refused::NoKey => Self::NotReady,
            Refused::TooManyTries(wait) => {
                Self::TooMany("too many failed logins as this machine type", wait)
            }
            Refused::TooManyRequests => {
                Self::TooMany("this login has too many open requests", SOON)
            }
            refused => Self::Unauthorized(refused, challenge),
        }
    }
}

fn told(refused: &Refused) -> Cow<'static, str> {
    Cow::Borrowed(match refused {
        Refused::NotLoggedIn => "log in with a machine type first",
        Refused::Wrong => "machine type or password is wrong",
        Refused::Nameless(nameless) => {
            return format!(
                "the client certificate names {nameless}: give it one URI name `urn:metahub:login:NAME`, or the login's name as its common name"
            )
            .into();
        }
        Refused::NoSuchLogin(name) => {
            return format!(
                "the client certificate names `{name}`, and there is no such login: create it, or show another certificate"
            )
            .into();
        }
        Refused::Token => "the token is not good, or not any more",
        Refused::Scope => {
            "the token is not for this repository: ask for one with the scope repository:NAME:pull"
        }
        Refused::NoKey => "there is no key to sign tokens with",
        Refused::NoSelectors => {
            "this login allows no selectors after `+`: create it with --allow-selectors"
        }
        Refused::TooManyTries(_) => "too many failed logins",
        Refused::TooManyRequests => "too many open requests",
        Refused::Selectors(reason) => return format!("the selectors after `+`: {reason}").into(),
    })
}

fn explained(path: InvalidPath) -> &'static str {
    match path {
        InvalidPath::NoEndpoint => "there is no such endpoint",
        InvalidPath::Name => "the repository's name is not valid",
        InvalidPath::Tag => "the tag is not valid",
        InvalidPath::Digest => "the digest is not valid",
    }
}

impl From<&InvalidIndex> for Error {
    fn from(invalid: &InvalidIndex) -> Self {
        Self::Index(invalid.to_string())
    }
}

impl Error {
    /// The answer. A `HEAD` gets the same without its body.
    pub(crate) fn response(&self, head: bool) -> Response<Body> {
        let (status, code) = self.code();
        let error = json!({"code": code, "message": self.to_string()});
        let body = Bytes::from(json!({"errors": [error]}).to_string());
        let length = HeaderValue::from(body.len());
        let body = if head { Bytes::new() } else { body };

        let mut response = Response::new(Body::Whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CONTENT_LENGTH, length);
        if let Self::Unauthorized(_, challenge) = self {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Self::Write = self {
            headers.insert(ALLOW, METHODS);
        }
        if let Some(delay) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        response
    }

    /// The status, and the code of the distribution spec. `UNAVAILABLE` and
    /// `UNKNOWN` are docker's, for what the spec has no code for.
    fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Form | Self::Host => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Self::Unauthorized(..) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            Self::TooMany(..) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Path(path) => invalid(*path),
            Self::Write => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Catalog => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Name(UnknownName::Empty) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::Name(UnknownName::NotConfigured(_) | UnknownName::NoDefault) => {
                (StatusCode::NOT_FOUND, "NAME_UNKNOWN")
            }
            Self::NoGrant { .. } | Self::Outdated(_) | Self::NothingFits(_) => {
                (StatusCode::FORBIDDEN, "DENIED")
            }
            Self::Index(_) => (StatusCode::BAD_GATEWAY, "MANIFEST_INVALID"),
            Self::NotRemade(_) => (StatusCode::BAD_GATEWAY, "DIGEST_INVALID"),
            Self::NoControl(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Missing { wanted, .. } => (StatusCode::NOT_FOUND, missing(*wanted)),
            Self::Upstream(error, wanted) => failed(error, *wanted),
        }
    }

    /// When the same request may succeed.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany(_, wait) => Some(*wait),
            Self::NotReady => Some(SOON),
            Self::NoControl(_) => Some(LATER),
            Self::Upstream(error, _) if error.is_weather() => {
                Some(error.retry_after().unwrap_or(LATER))
            }
            _ => None,
        }
    }
}

/// A tag that cannot be is a tag that is not there: 404, as the spec's
/// conformance tests ask.
fn invalid(path: InvalidPath) -> (StatusCode, &'static str) {
    match path {
        InvalidPath::NoEndpoint => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
        InvalidPath::Name => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        InvalidPath::Tag => (StatusCode::NOT_FOUND, "TAG_INVALID"),
        InvalidPath::Digest => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
    }
}

fn failed(error: &upstream::Error, wanted: Wanted) -> (StatusCode, &'static str) {
    use upstream::{Error as E, Limit};
    match error {
        E::NotFound { .. } => (StatusCode::NOT_FOUND, missing(wanted)),
        E::Refused {
            status: StatusCode::BAD_REQUEST,
            ..
        } => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
        E::Denied { .. } | E::Refused { .. } => (StatusCode::FORBIDDEN, "DENIED"),
        E::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        E::Overloaded(Limit::Login) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        E::Unavailable { .. } | E::Timeout { .. } | E::Overloaded(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
        }
        E::BadManifest { .. } | E::NoManifest { .. } => {
            (StatusCode::BAD_GATEWAY, "MANIFEST_INVALID")
        }
        E::DigestMismatch { .. } => (StatusCode::BAD_GATEWAY, "DIGEST_INVALID"),
        E::TooLarge { .. } => (StatusCode::BAD_GATEWAY, "SIZE_INVALID"),
        E::Untrusted { .. } | E::BadAnswer { .. } => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
    }
}

fn missing(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Manifest => "MANIFEST_UNKNOWN",
        Wanted::Blob => "BLOB_UNKNOWN",
        Wanted::List => "NAME_UNKNOWN",
    }
}

/// Whole seconds, one at least, since clients take 0 for "at once".
fn whole_seconds(delay: Duration) -> u64 {
    let rounded = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    rounded.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Blob(_) => panic!("an error is no blob"),
        }
    }

    fn busy(retry_after: Duration) -> Error {
        let upstream = "docker.io".into();
        let error = upstream::Error::RateLimited {
            upstream,
            retry_after,
        };
        Error::Upstream(error, Wanted::Manifest)
    }

    #[test]
    fn a_head_gets_the_headers_of_a_get() {
        for error in [
            Error::from(Refused::Wrong),
            Error::Write,
            Error::NothingFits("none fits".into()),
            busy(Duration::from_millis(1)),
        ] {
            let (head, get) = (error.response(true), error.response(false));

            assert_eq!(head.headers(), get.headers());
            assert_eq!(text(head), "");
            let length = get.headers()[CONTENT_LENGTH].to_str().unwrap().to_owned();
            assert_eq!(text(get).len().to_string(), length);
        }
    }

    #[test]
    fn a_worker_at_its_limits_says_when_to_come_back_and_never_404() {
        use upstream::Limit;
        for (limit, status) in [
            (Limit::Requests, 503),
            (Limit::Memory, 503),
            (Limit::Login, 429),
        ] {
            let error = Error::Upstream(upstream::Error::Overloaded(limit), Wanted::Manifest);

            let response = error.response(false);

            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[RETRY_AFTER], "5");
        }
    }

    #[test]
    fn a_refusal_is_denied_in_words_that_clients_show() {
        let refusal = "qnib-type1 \"needs\" more".to_owned();
        let response = Error::NothingFits(refusal).response(false);

        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            text(response),
            r#"{"errors":[{"code":"DENIED","message":"qnib-type1 \"needs\" more"}]}"#
        );
    }

    #[test]
    fn a_challenge_comes_alone_and_with_every_401() {
        for refused in [Refused::NotLoggedIn, Refused::Wrong] {
            let response = Error::from(refused).response(false);
            let challenges: Vec<_> = response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .collect();

            assert_eq!(challenges, [r#"Basic realm="MetaHub""#]);
        }
    }

    #[test]
    fn a_delay_is_rounded_up_to_whole_seconds() {
        for (delay, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let response = busy(Duration::from_millis(delay)).response(false);

            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[RETRY_AFTER], header);
        }
    }

    #[test]
    fn a_refusal_of_the_upstream_is_told_in_its_own_words_and_invites_no_retry() {
        for (status, expected) in [(400, 400), (402, 403), (412, 403), (422, 403), (451, 403)] {
            let refused = upstream::Error::Refused {
                upstream: "docker.io".into(),
                status: StatusCode::from_u16(status).unwrap(),
                reason: Some("3 critical vulnerabilities".into()),
            };

            let response = Error::Upstream(refused, Wanted::Manifest).response(false);

            assert_eq!(response.status(), expected);
            assert!(!response.headers().contains_key(RETRY_AFTER));
            assert!(text(response).contains("3 critical vulnerabilities"));
        }
    }

    #[test]
    fn weather_is_never_not_found() {
        let upstream = || "docker.io".into();
        for error in [
            upstream::Error::Timeout {
                upstream: upstream(),
                place: upstream::Place::Upstream,
            },
            upstream::Error::Unavailable {
                upstream: upstream(),
                place: upstream::Place::TokenServer,
                why: upstream::Why::Unreachable,
                retry_after: Duration::ZERO,
            },
        ] {
            let response = Error::Upstream(error, Wanted::Blob).response(false);

            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key(RETRY_AFTER));
        }
    }
}
