//! What a client was allowed when its transfer began, checked again whenever
//! the policy changes: permission ends with the login, the grant or the
//! upstream, also in the middle of a blob.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::futures::OwnedNotified;

use crate::{auth::LoginKey, reference::Repository, snapshot::Current};

/// A client's permission to pull from one repository.
#[derive(Debug)]
pub(super) struct Permission {
    current: Arc<Current>,
    login: LoginKey,
    upstream: Box<str>,
    repository: Repository,
    /// How often the policy had changed at the last check. None: not checked.
    checked: Option<u64>,
    has_ended: bool,
    changed: Option<Pin<Box<OwnedNotified>>>,
}

impl Permission {
    /// The permission of `login` to pull `repository` from the upstream of that
    /// name.
    pub(super) fn new(
        current: &Arc<Current>,
        login: &LoginKey,
        upstream: &str,
        repository: &Repository,
    ) -> Self {
        Self {
            current: Arc::clone(current),
            login: login.clone(),
            upstream: upstream.into(),
            repository: repository.clone(),
            checked: None,
            has_ended: false,
            changed: None,
        }
    }

    /// Whether it has ended. Costs one atomic load while the policy stays as it
    /// is.
    pub(super) fn has_ended(&mut self) -> bool {
        let changes = self.current.changes();
        if self.checked != Some(changes) {
            self.checked = Some(changes);
            self.has_ended = !self.stands();
        }
        self.has_ended
    }

    /// Ready once it has ended.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let current = &self.current;
            let changed = self
                .changed
                .get_or_insert_with(|| Box::pin(current.changed()));
            let is_changed = changed.as_mut().poll(context).is_ready();
            // Only now: a change from here on wakes this task.
            if self.has_ended() {
                return Poll::Ready(());
            }
            if !is_changed {
                return Poll::Pending;
            }
            self.changed = None;
        }
    }

    fn stands(&self) -> bool {
        let snapshot = self.current.load();
        let Some(snapshot) = snapshot.as_deref() else {
            return false;
        };
        let login = self.login.find(snapshot);
        let upstream = snapshot.upstream(&self.upstream);
        login.zip(upstream).is_some_and(|(login, upstream)| {
            snapshot.may_pull(&login.kind.user, upstream, self.repository.as_str())
        })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            login,
            upstream,
            repository,
            ..
        } = self;
        write!(f, "{upstream}/{repository} by login `{login}`")
    }
}
