//! Serves the policy as one document.

use std::sync::Arc;

use metahub_proto::admin::v1::{
    self as proto, declaration_service_server::DeclarationService as DeclarationServiceTrait,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_stream::Iter;
use tonic::{Request, Response, Status, Streaming};

use super::{Parts, actor};
use crate::{
    Error, Result, Revision,
    catalog::{Declaration, Mode, Outcome},
    convert,
};

/// What a document may weigh. 10,000 machine types with logins are some 0.6 MiB.
const LARGEST_DOCUMENT: usize = 64 << 20;
/// How many documents are in memory at once. Others wait.
const MOST_DOCUMENTS: usize = 2;

/// The declaration service of the contract.
#[derive(Debug)]
pub(super) struct DeclarationApi {
    parts: Parts,
    documents: Arc<Semaphore>,
}

/// A document that has arrived, with its settings.
struct Document {
    declaration: Declaration,
    prunes: bool,
    is_dry_run: bool,
    unchanged_since: Option<Revision>,
}

/// Messages that are made when they are sent.
type Messages<T> = Iter<Box<dyn Iterator<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<Messages<T>>, Status>;

impl DeclarationApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            documents: Arc::new(Semaphore::new(MOST_DOCUMENTS)),
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.documents.acquire().await.map_err(|_| Error::Stopping)
    }
}

#[tonic::async_trait]
impl DeclarationServiceTrait for DeclarationApi {
    type ApplyStream = Messages<proto::OutcomePart>;
    type DiffStream = Messages<proto::OutcomePart>;
    type ExportStream = Messages<proto::ExportResponse>;
    type BackupStream = Messages<proto::BackupResponse>;
    type RollbackStream = Messages<proto::OutcomePart>;

    async fn apply(
        &self,
        request: Request<Streaming<proto::DeclarationPart>>,
    ) -> Answer<proto::OutcomePart> {
        let actor = actor(&request)?;
        let _turn = self.turn().await?;
        let document = Document::read(request.into_inner()).await?;
        let mode = Mode::apply(document.prunes).unchanged_since(document.unchanged_since);
        let catalog = &self.parts.catalog;
        let outcome = match document.is_dry_run {
            true => catalog.preview(document.declaration, mode).await?,
            false => catalog.declare(&actor, document.declaration, mode).await?,
        };
        Ok(told(outcome))
    }

    async fn diff(
        &self,
        request: Request<Streaming<proto::DeclarationPart>>,
    ) -> Answer<proto::OutcomePart> {
        let _turn = self.turn().await?;
        let document = Document::read(request.into_inner()).await?;
        let mode = Mode::diff(document.prunes);
        let catalog = &self.parts.catalog;
        Ok(told(catalog.preview(document.declaration, mode).await?))
    }

    async fn export(&self, _: Request<proto::ExportRequest>) -> Answer<proto::ExportResponse> {
        let declaration = self.parts.catalog.export(false);
        let pieces = convert::declaration_pieces(&declaration)?;
        Ok(messages(
            pieces.map(|piece| Ok(proto::ExportResponse { piece })),
        ))
    }

    async fn backup(&self, _: Request<proto::BackupRequest>) -> Answer<proto::BackupResponse> {
        let declaration = self.parts.catalog.export(true);
        let pieces = convert::declaration_pieces(&declaration)?;
        Ok(messages(
            pieces.map(|piece| Ok(proto::BackupResponse { piece })),
        ))
    }

    async fn rollback(
        &self,
        request: Request<proto::RollbackRequest>,
    ) -> Answer<proto::OutcomePart> {
        let actor = actor(&request)?;
        let asked = request.into_inner();
        let catalog = &self.parts.catalog;
        let outcome = match asked.dry_run {
            true => catalog.preview_rollback(asked.revision).await?,
            false => {
                let agreed = asked.unchanged_since.map(convert::revision_from);
                catalog.rollback(&actor, asked.revision, agreed).await?
            }
        };
        Ok(told(outcome))
    }
}

impl Document {
    async fn read(mut parts: Streaming<proto::DeclarationPart>) -> Result<Self, Status> {
        let (mut json, mut prunes, mut is_dry_run) = (Vec::new(), false, false);
        let mut unchanged_since = None;
        while let Some(part) = parts.message().await? {
            prunes |= part.prune;
            is_dry_run |= part.dry_run;
            unchanged_since = part.unchanged_since.or(unchanged_since);
            if json.len() + part.piece.len() > LARGEST_DOCUMENT {
                let reason = "is larger than 64 MiB: apply it in parts, without --prune";
                return Err(Error::invalid("document", reason).into());
            }
            json.extend_from_slice(&part.piece);
        }
        Ok(Self {
            declaration: convert::declaration_from(&json)?,
            prunes,
            is_dry_run,
            unchanged_since: unchanged_since.map(convert::revision_from),
        })
    }
}

fn told(outcome: Outcome) -> Response<Messages<proto::OutcomePart>> {
    messages(convert::outcome_parts(outcome).map(|part| Ok(part?)))
}

fn messages<T>(
    messages: impl Iterator<Item = Result<T, Status>> + Send + 'static,
) -> Response<Messages<T>> {
    let messages: Box<dyn Iterator<Item = _> + Send> = Box::new(messages);
    Response::new(tokio_stream::iter(messages))
}
