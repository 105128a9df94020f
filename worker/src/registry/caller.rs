//! Answers with the client's machine type and the age of the worker's policy:
//! `metahubctl doctor` compares them with the host.

use http::Response;
use serde_json::json;

use super::{Asked, JSON, body::Body, served};
use crate::snapshot::Current;

/// `{"type", "machine_type", "policy": {"age_seconds", "lag"}}`: the type's
/// name as in logins, the type with its features, the seconds since the last
/// message of the control plane, and the number of missing revisions.
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
