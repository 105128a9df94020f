//! The policy as a document, and what it changed.

use bytes::Bytes;
use metahub_proto::admin::v1::{ChangedRecord, OutcomePart, outcome_part::Part};

use super::{new_login, revision};
use crate::{
    Error, Result, StoreError,
    audit::AuditedChange,
    catalog::{Declaration, Outcome},
    store::Change,
};

/// What a piece of a document weighs: well below what a message may.
const PIECE: usize = 256 << 10;

/// Reads a document.
pub(crate) fn declaration_from(json: &[u8]) -> Result<Declaration> {
    serde_json::from_slice(json).map_err(|error| {
        let reason = format!("is not one that this control plane knows: {error}");
        Error::invalid("document", reason)
    })
}

/// Writes a document.
pub(crate) fn declaration_pieces(
    declaration: &Declaration,
) -> Result<impl Iterator<Item = Bytes> + use<>> {
    let json = serde_json::to_vec(declaration).map_err(unwritable("policy"))?;
    let json = Bytes::from(json);
    let starts = (0..json.len()).step_by(PIECE);
    Ok(starts.map(move |start| json.slice(start..json.len().min(start + PIECE))))
}

/// What was changed, in parts that are made one by one.
pub(crate) fn outcome_parts(outcome: Outcome) -> impl Iterator<Item = Result<OutcomePart>> {
    let changes = outcome.changes.into_iter().map(changed);
    let new_logins = outcome.new_logins.into_iter();
    let new_logins = new_logins.map(|it| Ok(Part::NewLogin(new_login(it))));
    let warnings = outcome.warnings.into_iter().map(|it| Ok(Part::Warning(it)));
    let last = Ok(Part::Revision(revision(outcome.revision)));
    let parts = new_logins.chain(changes).chain(warnings).chain([last]);
    parts.map(|part| Ok(OutcomePart { part: Some(part?) }))
}

fn changed(change: Change) -> Result<Part> {
    let shown = AuditedChange::of(&change).map_err(unwritable(change.key.as_str()))?;
    Ok(Part::Change(ChangedRecord {
        key: shown.key.as_str().to_owned(),
        before: shown.before.unwrap_or_default(),
        after: shown.after.unwrap_or_default(),
    }))
}

fn unwritable(key: &str) -> impl Fn(serde_json::Error) -> Error {
    |source| {
        let key = key.to_owned();
        StoreError::Record { key, source }.into()
    }
}
