//! Hears what a worker says.

use metahub_policy::StateDigest;
use metahub_proto::policy::v1::{self as proto, worker_message::Message as Heard};
use tokio::{sync::Notify, time::timeout};
use tracing::warn;

use super::{Incoming, SILENCE};
use crate::{Error, Result, Revision, convert, feed::Feed, fleet::Session};

const LONGEST_REASON: usize = 1_000;

/// Hears what the worker says.
pub(super) struct Listener<'a> {
    pub(super) feed: Feed,
    pub(super) session: &'a Session,
    /// Tells the speaker that the worker's copy is to be replaced.
    pub(super) differs: Notify,
}

impl Listener<'_> {
    /// Listens until the worker says no more.
    pub(super) async fn run(&self, incoming: &mut Incoming) -> Result<()> {
        loop {
            let heard = timeout(SILENCE, incoming.message())
                .await
                .map_err(|_| Error::Silent { peer: "the worker" })?;
            // A broken connection is an end like any other.
            let Ok(Some(message)) = heard else {
                return Ok(());
            };
            match message.message {
                Some(Heard::Applied(applied)) => {
                    let revision = applied.revision.map(convert::revision_from);
                    self.session.applied(revision.unwrap_or_default());
                }
                Some(Heard::Rejected(rejected)) => self.note_rejection(rejected),
                Some(Heard::Heartbeat(heartbeat)) => self.note_heartbeat(&heartbeat),
                Some(Heard::Leaving(_)) => {
                    self.session.left();
                    return Ok(());
                }
                Some(Heard::Hello(_)) => {
                    return Err(Error::Protocol {
                        reason: "a second hello",
                    });
                }
                // A newer worker may say what this program does not know.
                None => {}
            }
        }
    }

    fn note_rejection(&self, rejected: proto::Rejected) {
        let revision = rejected.revision.map(convert::revision_from);
        let revision = revision.unwrap_or_default();
        let reason = shortened(rejected.reason);
        warn!(policy.revision = %revision, "the worker rejected {revision}: {reason}");
        self.session.rejected(reason);
    }

    fn note_heartbeat(&self, heartbeat: &proto::Heartbeat) {
        let Some(held) = heartbeat.revision.map(convert::revision_from) else {
            return;
        };
        let digest = convert::digest_from(&heartbeat.digest);
        self.session.serves(held, digest);
        self.compare(held, digest);
    }

    /// Compares what the worker says that it holds.
    pub(super) fn compare_hello(&self, hello: &proto::Hello) {
        if !hello.distrust.is_empty() {
            self.note_mismatch(shortened(hello.distrust.clone()));
        } else if let Some(held) = hello.held.map(convert::revision_from) {
            let digest = convert::digest_from(&hello.digest);
            self.session.serves(held, digest);
            self.compare(held, digest);
        }
    }

    /// Compares what the worker holds with what the policy was at that
    /// revision, if both are known.
    fn compare(&self, held: Revision, digest: Option<StateDigest>) {
        let differs = |digest| Some((digest, self.feed.differs(held, digest)?));
        if let Some((digest, known)) = digest.and_then(differs) {
            self.note_mismatch(format!("it holds {digest} at {held}, which is {known}"));
        }
    }

    fn note_mismatch(&self, reason: String) {
        if self.session.mismatched(reason.clone()) {
            warn!("the worker's copy differs from the policy and will be replaced: {reason}");
            self.differs.notify_one();
        }
    }
}

fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
    reason
}
