//! A worker that follows the policy and serves nothing: to the control plane
//! it is like any other. For measurements with many of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use crate::sync::Shelf;
use crate::{
    Config,
    identity::Identity,
    snapshot::Current,
    sync::{Introduction, Link, Sync},
};

/// A worker without a registry.
#[derive(Debug)]
pub struct Follower {
    sync: Sync,
    view: View,
}

/// What a [`Follower`] would serve.
#[derive(Clone, Debug)]
pub struct View(Arc<Current>);

impl Follower {
    /// One with this name that goes to the control plane as `config` says, and
    /// shares whole policies with the others of `shelf`.
    pub fn new(config: &Config, name: String, shelf: Shelf) -> anyhow::Result<Self> {
        let view = View(Arc::new(Current::new(config.max_policy_age)));
        let introduction = Introduction {
            identity: Identity::new(config, &name)?,
            worker_id: name,
            registry_address: String::new(),
        };
        let link = Arc::new(Link::default());
        Ok(Self {
            sync: Sync::new(introduction, view.0.clone(), link, None).sharing(shelf),
            view,
        })
    }

    /// What it serves, now and later.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Follows until `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) {
        self.sync.run(shutdown).await;
    }
}

impl View {
    /// Waits until revision `number` is served, or a later one.
    pub async fn reached(&self, number: u64) {
        self.0.reached(number).await;
    }

    /// Whether the login is served.
    pub fn knows(&self, login: &str) -> bool {
        let snapshot = self.0.load();
        snapshot
            .as_ref()
            .is_some_and(|it| it.login(login).is_some())
    }

    /// How often the copy was found to differ from the policy.
    pub fn mismatches(&self) -> u64 {
        self.0.mismatches()
    }
}
