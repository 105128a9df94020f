//! Serves the audit: what was changed, and what is changed from then on.

use std::mem;

use metahub_proto::admin::v1::{
    TailRequest, TailResponse, audit_service_server::AuditService as AuditServiceTrait,
    tail_request::Start,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Parts;
use crate::{Error, Result, audit::AuditRecord, convert};

/// How many changes wait for a slow reader. What else there is stays in the
/// store.
const BACKLOG: usize = 64;

/// The audit service of the contract.
#[derive(Debug)]
pub(super) struct AuditApi {
    parts: Parts,
}

/// One reader, and what it has been sent.
struct Tail {
    parts: Parts,
    asked: TailRequest,
    /// All up to this revision is sent.
    after: u64,
    outgoing: mpsc::Sender<Result<TailResponse, Status>>,
}

/// The reader has gone.
struct Gone;

impl AuditApi {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

#[tonic::async_trait]
impl AuditServiceTrait for AuditApi {
    type TailStream = ReceiverStream<Result<TailResponse, Status>>;

    async fn tail(
        &self,
        request: Request<TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        let asked = request.into_inner();
        let start = convert::audit_start_from(&asked);
        let after = self.parts.catalog.audit_from(start).await?;
        let (outgoing, incoming) = mpsc::channel(BACKLOG);
        let tail = Tail {
            parts: self.parts.clone(),
            asked,
            after,
            outgoing,
        };
        self.parts.streams.spawn(tail.run());
        Ok(Response::new(ReceiverStream::new(incoming)))
    }
}

impl Tail {
    async fn run(mut self) {
        let outgoing = self.outgoing.clone();
        let stopping = self.parts.shutdown.clone();
        let ended = tokio::select! {
            ended = self.send_all() => ended,
            () = stopping.cancelled() => Err(Error::Stopping),
            () = outgoing.closed() => return,
        };
        if let Err(error) = ended {
            // A reader that has gone needs no reason.
            let _ = outgoing.try_send(Err(error.into()));
        }
    }

    async fn send_all(&mut self) -> Result<()> {
        let mut changed = self.parts.catalog.subscribe();
        // Without following, what is changed meanwhile is not waited for.
        let end = self.parts.catalog.revision().number;
        loop {
            let page = self.parts.catalog.audit(self.after).await?;
            let was_last = page.is_empty();
            for record in page {
                if !self.asked.follow && record.revision > end {
                    return Ok(());
                }
                if self.send(record).await.is_err() {
                    return Ok(());
                }
            }
            if was_last && !self.asked.follow {
                return Ok(());
            }
            if was_last {
                changed.changed().await.map_err(|_| Error::Stopping)?;
            }
        }
    }

    async fn send(&mut self, mut record: AuditRecord) -> Result<(), Gone> {
        self.after = record.revision;
        if let Some(Start::SinceUnixMs(since)) = self.asked.start
            && record.at_unix_ms < since
        {
            return Ok(());
        }
        for change in mem::take(&mut record.changes) {
            let message = convert::audited(&record, change, !self.asked.without_values);
            let sent = self.outgoing.send(Ok(message)).await;
            sent.map_err(|_| Gone)?;
        }
        Ok(())
    }
}
