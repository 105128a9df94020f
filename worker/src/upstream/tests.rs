//! The way to the upstreams, tried on registries of our own on loopback.

mod answers;
mod blobs;
mod certificates;
mod circuits;
mod disk;
mod elsewhere;
mod heads;
mod hidden;
mod hostile;
mod identity;
mod joins;
mod limits;
mod lists;
mod lost_connections;
mod names;
mod options;
mod parts;
mod plugins;
mod tags;
mod tokens;
mod weather;

use std::{sync::Arc, time::Duration};

use super::{
    Credential, Error, Puller, Settings, Source, Upstream, clock::Clock, testing::Registry,
};
use crate::reference::{Digest, Reference, Repository};

/// An index that no variant is in.
const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;
/// An image that is none.
const SMALL_IMAGE: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

/// A puller, and a registry for it to pull `app` from.
struct Bench {
    registry: Registry,
    upstream: Arc<Upstream>,
    puller: Puller,
    clock: Clock,
}

impl Bench {
    async fn new() -> Self {
        Self::with_password(None).await
    }

    async fn with_password(password: Option<&str>) -> Self {
        let settings = Settings {
            patience: Duration::from_millis(400),
            ..Settings::default()
        };
        Self::with(settings, password).await
    }

    /// One that waits for an upstream to recover, however slow this machine is.
    async fn patient() -> Self {
        let settings = Settings {
            patience: Duration::from_secs(60),
            ..Settings::default()
        };
        Self::with(settings, None).await
    }

    async fn with(settings: Settings, password: Option<&str>) -> Self {
        let registry = Registry::start().await;
        let clock = Clock::default();
        Self {
            upstream: upstream(&registry, password),
            puller: Puller::with_clock(settings, clock.clone()).unwrap(),
            registry,
            clock,
        }
    }

    async fn pull(&self, reference: &str) -> Result<Arc<Source>, Error> {
        self.puller
            .manifest(&self.upstream, &app(), &reference_of(reference))
            .await
    }

    fn fresh(&self, reference: &str) -> Option<Arc<Source>> {
        self.puller
            .fresh(&self.upstream, &app(), &reference_of(reference))
    }

    /// Lets the time to live of every tag run out.
    fn expire(&self) {
        self.clock.advance(Duration::from_secs(17));
    }

    fn gets(&self) -> usize {
        self.registry.count("GET /v2/app/manifests/")
    }

    fn heads(&self) -> usize {
        self.registry.count("HEAD /v2/app/manifests/")
    }
}

fn upstream(registry: &Registry, password: Option<&str>) -> Arc<Upstream> {
    let credential = password.map(|password| Credential {
        username: "robot".into(),
        password: password.into(),
    });
    let upstream = Upstream::new("hub", registry.url(), credential, true);
    Arc::new(upstream)
}

fn app() -> Repository {
    Repository::parse("app").unwrap()
}

fn reference_of(reference: &str) -> Reference {
    Reference::parse(reference).unwrap()
}

fn digest_of(digest: &str) -> Digest {
    Digest::parse(digest).unwrap()
}
