//! Snapshots for tests.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use metahub_policy::{Grant, MachineType, StateDigest};

use super::{Entry, KindName, LoginRecord, Record, Revision, Snapshot, TypeRecord, build};
use crate::upstream::Upstream;

/// Puts a snapshot together.
#[derive(Default)]
pub(crate) struct Sample(Vec<(String, Record)>);

impl Sample {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With an upstream.
    pub(crate) fn upstream(self, name: &str, url: &str, is_default: bool) -> Self {
        let url = url.parse().expect("a URL");
        let upstream = Upstream::new(name, url, None, is_default);
        self.with("upstream", name, Record::Upstream(Arc::new(upstream)))
    }

    /// With an upstream that workers are also reached as.
    pub(crate) fn upstream_at_host(self, name: &str, url: &str, host: &str) -> Self {
        let upstream = Upstream::new(name, url.parse().expect("a URL"), None, false);
        let upstream = upstream.reached_by([host.to_owned()]);
        self.with("upstream", name, Record::Upstream(Arc::new(upstream)))
    }

    /// With an upstream that is open only to users with a grant.
    pub(crate) fn restricted_upstream(self, name: &str, url: &str) -> Self {
        let url = url.parse().expect("a URL");
        let upstream = Upstream::new(name, url, None, false).restricted(true);
        self.with("upstream", name, Record::Upstream(Arc::new(upstream)))
    }

    /// With a grant for a user, or for all.
    pub(crate) fn grant(self, user: Option<&str>, repository: &str) -> Self {
        let grant = Grant {
            user: user.map(Into::into),
            repository: repository.into(),
        };
        self.with("grant", repository, Record::Grant(grant))
    }

    /// With the machine type `qnib-<name>`, described in JSON, and its login.
    pub(crate) fn machine_type(self, name: &str, json: &str, secret: &str) -> Self {
        let machine_type: MachineType = serde_json::from_str(json).expect("a machine type");
        let kind = KindName {
            user: "qnib".into(),
            name: name.into(),
        };
        let secret_sha256 = digest(&SHA256, secret.as_bytes());
        let login = LoginRecord {
            name: format!("qnib-{name}").into(),
            kind: kind.clone(),
            secret_sha256: secret_sha256.as_ref().try_into().expect("32 bytes"),
            allow_selectors: false,
        };
        let record = TypeRecord {
            name: kind,
            machine_type,
        };
        self.with("type", name, Record::MachineType(Box::new(record)))
            .with("login", name, Record::Login(login))
    }

    /// With any record.
    pub(crate) fn with(mut self, kind: &str, name: &str, record: Record) -> Self {
        self.0.push((format!("{kind}/{name}"), record));
        self
    }

    pub(crate) fn build(self) -> Snapshot {
        let revision = Revision {
            epoch: 1,
            number: 1,
        };
        let entries = self.0.into_iter().map(|(key, record)| {
            let digest = StateDigest::of(key.as_bytes());
            let record = Some(record);
            (key, Entry { record, digest })
        });
        build(revision, &entries.collect(), None).expect("a good policy")
    }
}
