//! How many requests to upstreams each login has in flight.
//!
//! The login belongs to the task that answers a client, and to the tasks that
//! it starts: nothing between it and the upstream has to pass it on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

tokio::task_local! {
    static CURRENT: InFlight;
}

/// The requests to upstreams of one login. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

/// A request that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(InFlight);

impl InFlight {
    /// Those of the login for which this task runs. Outside of any, there are
    /// none.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Runs `task` for this login.
    pub(crate) fn scope<F: Future>(self, task: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, task)
    }

    /// Counts a request, if there are fewer than `most`.
    pub(crate) fn count(&self, most: usize) -> Option<Counted> {
        let before = self.0.fetch_add(1, Relaxed);
        let counted = Counted(self.clone());
        (before < most).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_counts_for_the_login_that_started_it() {
        let login = InFlight::default();

        let counted = login.clone().scope(async {
            let task = InFlight::current().scope(async { InFlight::current().count(1) });
            tokio::spawn(task).await.unwrap()
        });

        let counted = counted.await;
        assert!(counted.is_some() && login.count(1).is_none());
        drop(counted);
        assert!(login.count(1).is_some());
    }
}
