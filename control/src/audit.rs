//! The audit: every change that someone decided, with who, from where, when
//! and what. Kept with the state, by the commit that makes the change.
//!
//! Values are redacted before they get here: no secret, and no hash of one, is
//! ever in the audit. Recipes and when admin tokens were used are left out, since
//! no one decides them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    catalog::{Actor, admin_tokens::TOKEN_USE, joins::RENEWAL},
    records::{Key, Kind, Record},
    store::{Batch, Change},
};

/// What one revision changed, and who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditRecord {
    pub(crate) revision: u64,
    /// In milliseconds since 1970, by the control plane's clock.
    pub(crate) at_unix_ms: u64,
    pub(crate) actor: Actor,
    /// What they did, for example `type.create`.
    pub(crate) action: String,
    /// In the order of the batch, one at least.
    pub(crate) changes: Vec<AuditedChange>,
}

/// One changed record, with `***` for every secret. `None` before: it was new;
/// `None` after: it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditedChange {
    pub(crate) key: Key,
    /// JSON, as the store has it.
    pub(crate) before: Option<String>,
    /// JSON, as the store has it.
    pub(crate) after: Option<String>,
}

impl AuditRecord {
    /// What the audit says of `batch`. `None`: it holds nothing that anyone
    /// decided.
    pub(crate) fn of(revision: u64, batch: &Batch) -> serde_json::Result<Option<Self>> {
        let is_decided = ![TOKEN_USE, RENEWAL].contains(&batch.action);
        let decided = |change: &&Change| change.key.kind() != Kind::Recipe && is_decided;
        let changes = batch.changes.iter().filter(decided);
        let changes: Vec<_> = changes.map(AuditedChange::of).collect::<Result<_, _>>()?;
        let record = Self {
            revision,
            at_unix_ms: unix_ms(SystemTime::now()),
            actor: batch.actor.clone(),
            action: batch.action.to_owned(),
            changes,
        };
        Ok(Some(record).filter(|record| !record.changes.is_empty()))
    }
}

impl AuditedChange {
    /// What may be shown of `change`.
    pub(crate) fn of(change: &Change) -> serde_json::Result<Self> {
        let shown = |record: &Option<_>| record.as_deref().map(shown).transpose();
        Ok(Self {
            key: change.key.clone(),
            before: shown(&change.before)?,
            after: shown(&change.after)?,
        })
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn shown(record: &Record) -> serde_json::Result<String> {
    record.redacted().to_json()
}
