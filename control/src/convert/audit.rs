//! Who changed what.

use metahub_proto::admin::v1::{TailRequest, TailResponse, tail_request::Start};

use crate::{
    audit::{AuditRecord, AuditedChange},
    catalog::AuditStart,
};

/// Where to start. A time says nothing about that: it is what to leave out.
pub(crate) fn audit_start_from(request: &TailRequest) -> AuditStart {
    match request.start {
        Some(Start::AfterRevision(revision)) => AuditStart::After(revision),
        Some(Start::LastRevisions(count)) => AuditStart::Last(count as usize),
        Some(Start::SinceUnixMs(_)) | None => AuditStart::Oldest,
    }
}

/// One change of `record`.
pub(crate) fn audited(
    record: &AuditRecord,
    change: AuditedChange,
    with_values: bool,
) -> TailResponse {
    let value = |json: Option<String>| json.filter(|_| with_values).unwrap_or_default();
    TailResponse {
        revision: record.revision,
        at_unix_ms: record.at_unix_ms,
        actor: record.actor.name.clone(),
        from: record
            .actor
            .from
            .map(|it| it.to_string())
            .unwrap_or_default(),
        action: record.action.clone(),
        key: change.key.as_str().to_owned(),
        before: value(change.before),
        after: value(change.after),
    }
}
