//! The calls of the audit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metahub_proto::admin::v1::{TailRequest, TailResponse, tail_request::Start};

use super::{Client, convert};
use crate::{failure::Failure, record::Audited};

/// From where on to read the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditStart {
    /// The oldest change that is kept.
    Oldest,
    /// The first change after this revision.
    After(u64),
    /// The first change that is no older than this.
    Since(SystemTime),
    /// The last so many revisions.
    Last(u32),
}

/// Changes as they come.
pub(crate) struct Tail<'a> {
    client: &'a Client,
    stream: tonic::Streaming<TailResponse>,
}

impl Client {
    /// Reads the audit from `start` on. With `follow` it does not end.
    pub(crate) async fn audit(&self, start: AuditStart, follow: bool) -> Result<Tail<'_>, Failure> {
        let request = TailRequest {
            start: start.to_wire(),
            follow,
            without_values: false,
        };
        self.tail(request).await
    }

    /// Reads what was changed by the last so many revisions, without values.
    pub(crate) async fn history(&self, last: u32) -> Result<Tail<'_>, Failure> {
        let request = TailRequest {
            start: AuditStart::Last(last).to_wire(),
            follow: false,
            without_values: true,
        };
        self.tail(request).await
    }

    async fn tail(&self, request: TailRequest) -> Result<Tail<'_>, Failure> {
        let stream = self.answer(self.audit.clone().tail(request).await)?;
        Ok(Tail {
            client: self,
            stream,
        })
    }
}

impl Tail<'_> {
    /// The next change. `None`: that was all.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Audited>> {
        let message = self.stream.message().await;
        let message = message.map_err(|status| Failure::of(status, &self.client.url))?;
        Ok(message.map(audited).transpose()?)
    }
}

impl AuditStart {
    fn to_wire(self) -> Option<Start> {
        match self {
            Self::Oldest => None,
            Self::After(revision) => Some(Start::AfterRevision(revision)),
            Self::Since(time) => Some(Start::SinceUnixMs(unix_ms(time))),
            Self::Last(count) => Some(Start::LastRevisions(count)),
        }
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn audited(wire: TailResponse) -> serde_json::Result<Audited> {
    Ok(Audited {
        revision: wire.revision,
        time: UNIX_EPOCH + Duration::from_millis(wire.at_unix_ms.min(253_402_300_799_999)),
        actor: wire.actor,
        from: Some(wire.from).filter(|from| !from.is_empty()),
        action: wire.action,
        key: wire.key,
        before: convert::json(&wire.before)?,
        after: convert::json(&wire.after)?,
    })
}
