//! The proxy's own responses, in the registry API's error format (OCI
//! distribution-spec, "Error Codes").

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use super::{body::Body, headers::API_VERSION};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VERSION_2: HeaderValue = HeaderValue::from_static("registry/2.0");
/// The `Retry-After` value, in seconds.
const LATER: HeaderValue = HeaderValue::from_static("2");
const READ_ONLY: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// The response to `/v2/`. It has no challenge, so that no engine looks for a
/// login.
pub(super) fn base() -> Response<Body> {
    answer(StatusCode::OK, "{}".into())
}

/// The response to a method other than `GET` and `HEAD`.
pub(super) fn read_only() -> Response<Body> {
    let mut response = error(
        StatusCode::METHOD_NOT_ALLOWED,
        "UNSUPPORTED",
        "metahub-node only pulls: push to the registry itself",
    );
    response.headers_mut().insert(ALLOW, READ_ONLY);
    response
}

/// The response to a path outside the registry API.
pub(super) fn no_endpoint() -> Response<Body> {
    let message = "metahub-node serves the registry API, below /v2/, and /readyz";
    error(StatusCode::NOT_FOUND, "NOT_FOUND", message)
}

/// The response to a path that a balancer might normalise to another one.
pub(super) fn invalid_name() -> Response<Body> {
    let message = "no part of a repository's name or of a tag begins with a dot";
    error(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
}

/// The response to a `Host` header that no engine on this host sends.
pub(super) fn foreign_host() -> Response<Body> {
    let message = "metahub-node is for engines on this host: name it 127.0.0.1 or localhost";
    error(StatusCode::FORBIDDEN, "DENIED", message)
}

/// The response if the workers refuse the host's login. The status is not 401:
/// an engine would then ask its user for a login, which the proxy never
/// forwards.
pub(super) fn login_refused(origin: &str) -> Response<Body> {
    let message = format!(
        "{origin} refuses this host's login: run `metahubctl host login` on this host again"
    );
    error(StatusCode::FORBIDDEN, "DENIED", &message)
}

/// The response if no worker answers.
pub(super) fn unavailable(why: &str) -> Response<Body> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", why);
    response.headers_mut().insert(RETRY_AFTER, LATER);
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({"errors": [{"code": code, "message": message}]});
    answer(status, body.to_string())
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::own(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(API_VERSION, VERSION_2);
    response
}
