//! Tells a client which machine type it is served as, and how old the policy
//! is by which it is: what `metahubctl doctor` compares with the host.

use http::Response;
use serde_json::json;

use super::{Asked, JSON, body::Body, served};
use crate::snapshot::Current;

/// `{"type", "machine_type", "policy": {"age_seconds", "lag"}}`: the type's name
/// as in logins, the type with its features, the seconds since the control plane
/// was heard, and how many revisions are missing.
pub(super) fn answer(asked: &Asked<'_>, current: &Current) -> Response<Body> {
    let kind = asked.kind;
    let body = json!({
        "type": kind.name,
        "machine_type": kind.host.machine_type(),
        "policy": {
            "age_seconds": current.silence().as_secs(),
            "lag": current.lag(),
        },
    });
    served::whole(asked, body.to_string().into(), JSON)
}
