//! A part of MetaHub that serves inside the test until it is dropped.

use std::time::Duration;

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a part may take to drain.
const DRAIN: Duration = Duration::from_secs(10);

/// A serving task and what ends it.
#[derive(Debug)]
pub(crate) struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    shutdown: DropGuard,
}

impl Running {
    /// Spawns `serve`, which ends some time after its token is cancelled.
    pub(crate) fn spawn<F>(serve: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(shutdown.clone()));
        Self {
            task,
            shutdown: shutdown.drop_guard(),
        }
    }

    /// Shuts it down, and waits until it has drained.
    pub(crate) async fn stop(self) {
        drop(self.shutdown);
        timeout(DRAIN, self.task)
            .await
            .expect("it drains in time")
            .expect("it does not panic")
            .expect("it ends well");
    }
}
