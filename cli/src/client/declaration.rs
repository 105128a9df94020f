//! The calls that take and give the policy as one document.

use bytes::Bytes;
use metahub_control::Declaration;
use metahub_proto::admin::v1::{
    BackupRequest, ChangedRecord, DeclarationPart, ExportRequest, OutcomePart, RollbackRequest,
    outcome_part::Part,
};
use tonic::{Response, Status, Streaming};

use super::{Client, convert};
use crate::{
    failure::Failure,
    record::{Changed, Outcome, Revision},
};

/// What a piece of a document weighs: well below what a message may.
const PIECE: usize = 256 << 10;

/// How a declared policy is to be taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Whether what is not declared is deleted.
    pub(crate) prune: bool,
    /// Whether to say what would be changed, and change nothing.
    pub(crate) dry_run: bool,
    /// Since when the policy must not have changed.
    pub(crate) unchanged_since: Option<Revision>,
}

impl Client {
    /// Makes the policy what is declared.
    pub(crate) async fn apply(
        &self,
        declared: &Declaration,
        manner: Manner,
    ) -> anyhow::Result<Outcome> {
        let parts = parts(declared, manner)?;
        let answer = self.declaration.clone().apply(parts).await;
        self.outcome(answer).await
    }

    /// Says what applying would change, but for secrets.
    pub(crate) async fn diff(
        &self,
        declared: &Declaration,
        prune: bool,
    ) -> anyhow::Result<Outcome> {
        let manner = Manner {
            prune,
            dry_run: true,
            unchanged_since: None,
        };
        let parts = parts(declared, manner)?;
        let answer = self.declaration.clone().diff(parts).await;
        self.outcome(answer).await
    }

    /// Makes the policy what it was. A dry run only says what would change.
    pub(crate) async fn rollback(&self, revision: u64, manner: Manner) -> anyhow::Result<Outcome> {
        let request = RollbackRequest {
            revision,
            dry_run: manner.dry_run,
            unchanged_since: manner.unchanged_since.map(convert::to_revision),
        };
        let answer = self.declaration.clone().rollback(request).await;
        self.outcome(answer).await
    }

    /// The policy, without secrets.
    pub(crate) async fn export(&self) -> anyhow::Result<Declaration> {
        let answer = self.declaration.clone().export(ExportRequest {}).await;
        let mut stream = self.answer(answer)?;
        let mut json = Vec::new();
        while let Some(part) = self.next(&mut stream).await? {
            json.extend_from_slice(&part.piece);
        }
        Ok(serde_json::from_slice(&json)?)
    }

    /// The policy, with secrets.
    pub(crate) async fn backup(&self) -> anyhow::Result<Declaration> {
        let answer = self.declaration.clone().backup(BackupRequest {}).await;
        let mut stream = self.answer(answer)?;
        let mut json = Vec::new();
        while let Some(part) = self.next(&mut stream).await? {
            json.extend_from_slice(&part.piece);
        }
        Ok(serde_json::from_slice(&json)?)
    }

    async fn outcome(
        &self,
        answer: Result<Response<Streaming<OutcomePart>>, Status>,
    ) -> anyhow::Result<Outcome> {
        let mut stream = self.answer(answer)?;
        let mut outcome = Outcome {
            revision: None,
            changes: Vec::new(),
            new_logins: Vec::new(),
            warnings: Vec::new(),
        };
        while let Some(message) = self.next(&mut stream).await? {
            match message.part {
                Some(Part::Change(change)) => outcome.changes.push(changed(change)?),
                Some(Part::NewLogin(login)) => outcome.new_logins.push(convert::new_login(login)),
                Some(Part::Warning(warning)) => outcome.warnings.push(warning),
                Some(Part::Revision(it)) => outcome.revision = Some(convert::revision(it)),
                None => {}
            }
        }
        Ok(outcome)
    }

    async fn next<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, Failure> {
        let message = stream.message().await;
        message.map_err(|status| Failure::of(status, &self.url))
    }
}

/// The document in pieces, one at least.
fn parts(
    declared: &Declaration,
    manner: Manner,
) -> serde_json::Result<impl tokio_stream::Stream<Item = DeclarationPart> + use<>> {
    let json = Bytes::from(serde_json::to_vec(declared)?);
    let starts = (0..json.len()).step_by(PIECE);
    Ok(tokio_stream::iter(starts.map(move |start| {
        DeclarationPart {
            piece: json.slice(start..json.len().min(start + PIECE)),
            prune: manner.prune,
            dry_run: manner.dry_run,
            unchanged_since: manner.unchanged_since.map(convert::to_revision),
        }
    })))
}

fn changed(wire: ChangedRecord) -> serde_json::Result<Changed> {
    Ok(Changed {
        key: wire.key,
        before: convert::json(&wire.before)?,
        after: convert::json(&wire.after)?,
    })
}
