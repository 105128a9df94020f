//! The policy: one place where it changes, any number that read it.
//!
//! A change is planned on the newest view, committed, and published once it
//! is durable. If another control plane was faster, it is planned again on
//! what that one made. Readers hold an `Arc`, never a lock.

pub(crate) mod admin_tokens;
mod audit;
mod authority;
mod cpus;
mod declaration;
mod edit;
mod grants;
pub(crate) mod hosts;
pub(crate) mod joins;
mod logins;
mod machine_types;
mod purges;
mod recipes;
mod rules;
mod signing_keys;
mod upstreams;
mod users;

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, info, warn};

pub(crate) use self::admin_tokens::TokenWish;
pub(crate) use self::audit::AuditStart;
pub(crate) use self::authority::Trusted;
pub use self::declaration::{
    Declaration, DeclaredCpu, DeclaredGrant, DeclaredLogin, DeclaredMatch, DeclaredPin,
    DeclaredRule, DeclaredType, DeclaredUpstream, DeclaredUser,
};
pub(crate) use self::declaration::{Mode, Outcome};
use self::edit::Edit;
pub(crate) use self::hosts::{HostFacts, HostName, HostSummary, HostTokenWish, HostWish};
pub(crate) use self::joins::JoinTokenWish;
pub(crate) use self::logins::{LoginWish, NewLogin};
pub(crate) use self::purges::PurgeWish;
use crate::{
    Error, Result, Revision,
    access::Scope,
    policy::Policy,
    store::{Batch, Change, News, Store, StoreError},
};

/// Who makes a change, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) name: String,
    /// `None`: the control plane does it on its own.
    pub(crate) from: Option<IpAddr>,
    /// What it may change.
    pub(crate) scope: Scope,
}

/// The policy of one control plane. Clones share it.
#[derive(Clone, Debug)]
pub struct Catalog {
    store: Store,
    current: watch::Receiver<Arc<Policy>>,
    /// Writers of this control plane take turns, so that only those of another
    /// can make one plan again.
    turns: Arc<Semaphore>,
    recipes: Arc<recipes::WaitingRoom>,
    token_uses: Arc<admin_tokens::Uses>,
    host_counts: Arc<hosts::LastCounts>,
}

impl Actor {
    /// What the control plane does on its own, for example `retention`.
    pub(crate) fn on_its_own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            from: None,
            scope: Scope::All,
        }
    }

    /// One of whom the audit tells. It makes no further change.
    pub(crate) fn told_of(name: String, from: Option<IpAddr>) -> Self {
        Self {
            name,
            from,
            scope: Scope::Sight,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{} at {from}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Catalog {
    /// Reads the store, and follows it from then on.
    pub(crate) async fn open(store: Store) -> Result<Self> {
        let (contents, news) = store.watch().await?;
        let (publisher, current) = watch::channel(Arc::new(Policy::new(contents)));
        // Ends when the last handle of the store is gone.
        tokio::spawn(publish(news, publisher));
        let catalog = Self {
            store,
            current,
            turns: Arc::new(Semaphore::new(1)),
            recipes: Arc::default(),
            token_uses: Arc::default(),
            host_counts: Arc::default(),
        };
        catalog.seed().await?;
        Ok(catalog)
    }

    /// One that is gone with its last handle.
    #[cfg(test)]
    pub(crate) async fn in_memory() -> Self {
        let access = crate::EtcdAccess::default();
        let store = Store::open(
            crate::StoreLocation::Memory,
            &access,
            crate::store::OnEmpty::Begin,
        )
        .await;
        Self::open(store.unwrap()).await.unwrap()
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.policy().revision
    }

    /// The newest view.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.current.borrow().clone()
    }

    /// Whether other control planes have the same policy.
    pub(crate) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Tells the other control planes. See [`Store::announce`].
    pub(crate) async fn announce(&self, pieces: Vec<Vec<u8>>) -> Result<()> {
        Ok(self.store.announce(pieces).await?)
    }

    /// What the other control planes tell; nothing while the store is silent.
    pub(crate) async fn announced(&self) -> Vec<Vec<u8>> {
        self.store.announced().await.unwrap_or_default()
    }

    /// Since when the store does not answer. `None`: it does.
    pub(crate) fn store_silence(&self) -> watch::Receiver<Option<Instant>> {
        self.store.silence()
    }

    /// Follows the views. A slow reader sees the newest, not each.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Policy>> {
        self.current.clone()
    }

    /// Makes what a new store starts with.
    async fn seed(&self) -> Result<()> {
        if self.revision().number > 0 {
            return Ok(());
        }
        let actor = Actor::on_its_own("first start");
        self.edit(&actor, "upstream.seed", |edit| {
            // Another control plane may have been faster.
            if edit.base().revision.number == 0 {
                edit.put(upstreams::docker_hub());
            }
            Ok(())
        })
        .await
    }

    /// Plans a change on the newest view, makes it durable, and returns once
    /// it is published. `plan` may run several times. What the actor may not
    /// change is refused here, for all changes.
    async fn edit<T>(
        &self,
        actor: &Actor,
        action: &'static str,
        mut plan: impl FnMut(&mut Edit) -> Result<T>,
    ) -> Result<T> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::Stopping)?;
        loop {
            let base = self.policy();
            let planned_on = base.revision;
            let mut edit = Edit::new(base, actor.scope.clone());
            let outcome = plan(&mut edit)?;
            let changes = edit.changes()?;
            if changes.is_empty() {
                return Ok(outcome);
            }
            let subject = subject(&changes);
            let batch = Batch {
                actor: actor.clone(),
                action,
                changes,
            };
            match self.store.commit(planned_on.number, batch).await {
                Ok(revision) => {
                    self.published(|it| it.number >= revision.number).await?;
                    info!(policy.revision = %revision, actor = %actor, "{action} {subject}");
                    return Ok(outcome);
                }
                // Also back: the store may have been restored.
                Err(StoreError::Conflict { .. }) => self.published(|it| it != planned_on).await?,
                Err(error) => {
                    warn!(actor = %actor, "cannot commit {action} {subject}: {error}");
                    return Err(error.into());
                }
            }
        }
    }

    async fn published(&self, is_it: impl Fn(Revision) -> bool) -> Result<()> {
        let mut current = self.current.clone();
        let reached = current.wait_for(|policy| is_it(policy.revision));
        reached.await.map(|_| ()).map_err(|_| Error::Stopping)
    }
}

/// What the changes are about, in a few words.
fn subject(changes: &[Change]) -> String {
    let first = changes.first().map_or("", |change| change.key.as_str());
    match changes.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    }
}

/// Makes a view of each commit, for as long as the store is open.
async fn publish(mut news: mpsc::Receiver<News>, publisher: watch::Sender<Arc<Policy>>) {
    while let Some(news) = news.recv().await {
        let next = match news {
            News::Commit(commit) => publisher.borrow().after(&commit),
            News::Whole(contents) => Policy::new(contents),
        };
        publisher.send_replace(Arc::new(next));
    }
    debug!("the store is closed");
}

#[cfg(test)]
mod tests;
