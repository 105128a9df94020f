//! Where the control plane is, and whom to take for it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{bail, ensure};
use tonic::transport::{Endpoint, Identity};
use tracing::warn;
use url::Url;

use super::NoWay;
use crate::{
    Config, dns,
    grpc_channel::GrpcChannel,
    trust::{Fingerprint, Successor, Trust},
};

/// How long one try to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The way to the control plane.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// One at least.
    replicas: Vec<Replica>,
    /// The replica that is tried next. Where workers begin differs, so that
    /// they spread over the replicas.
    next: Arc<AtomicUsize>,
}

/// The way to one replica.
#[derive(Clone, Debug)]
struct Replica {
    control: Endpoint,
    trust: TrustFrom,
}

/// A new connection.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) channel: GrpcChannel,
    /// Who takes the place of the authority that was trusted.
    pub(super) successor: Option<Fingerprint>,
}

/// Where it stands whom to trust.
#[derive(Clone, Debug)]
enum TrustFrom {
    /// Plain text: no one has to be trusted.
    Nowhere,
    Fingerprint(Fingerprint),
    CaFile(PathBuf),
    /// The join token, and later what is kept of it.
    JoinToken,
}

impl Way {
    /// What the settings say. With `joins`, whom to trust may stand in the join
    /// token.
    pub(super) fn new(config: &Config, joins: bool) -> anyhow::Result<Self> {
        let replica = |control: &Url| {
            anyhow::Ok(Replica {
                control: Endpoint::from_shared(control.to_string())?,
                trust: trust_from(control, config, joins)?,
            })
        };
        let replicas = config.control.iter().map(replica);
        let replicas: Vec<Replica> = replicas.collect::<Result<_, _>>()?;
        ensure!(!replicas.is_empty(), "--control names no control plane");
        Ok(Self {
            next: Arc::new(AtomicUsize::new(fastrand::usize(..replicas.len()))),
            replicas,
        })
    }

    #[cfg(test)]
    pub(super) fn plain(url: String) -> Self {
        Self {
            replicas: vec![Replica {
                control: Endpoint::from_shared(url).expect("a URL"),
                trust: TrustFrom::Nowhere,
            }],
            next: Arc::default(),
        }
    }

    /// Opens a new connection and shows `identity`, to the first replica that
    /// takes it. Begins with another one each time. Where the settings do not
    /// say whom to trust, `pinned` does.
    pub(super) async fn open(
        &self,
        identity: Option<Identity>,
        pinned: Option<Fingerprint>,
    ) -> Result<Opened, NoWay> {
        let start = self.next.fetch_add(1, Relaxed) % self.replicas.len();
        let (before, from) = self.replicas.split_at(start);
        let mut outcome = Err(NoWay::Nowhere);
        for replica in from.iter().chain(before) {
            outcome = replica.open(identity.clone(), pinned).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Replica {
    async fn open(
        &self,
        identity: Option<Identity>,
        pinned: Option<Fingerprint>,
    ) -> Result<Opened, NoWay> {
        let control = self.control.clone();
        let successor = Successor::default();
        let endpoint = match self.trust(pinned)? {
            None => control,
            Some(trust) => trust.secure_noting(control, identity, &successor)?,
        };
        let connector = dns::connector(CONNECT_TIMEOUT)?;
        let channel = endpoint.connect_with_connector(connector).await?;
        let successor = successor.get();
        if let (TrustFrom::Fingerprint(former), Some(successor)) = (&self.trust, successor) {
            warn!(
                "another authority takes the place of {former}: give --fingerprint {successor} \
                 before the former one is retired"
            );
        }
        Ok(Opened {
            channel: channel.into(),
            successor,
        })
    }

    fn trust(&self, pinned: Option<Fingerprint>) -> Result<Option<Trust>, NoWay> {
        Ok(match &self.trust {
            TrustFrom::Nowhere => None,
            TrustFrom::Fingerprint(fingerprint) => Some(Trust::Fingerprint(*fingerprint)),
            TrustFrom::CaFile(path) => Some(Trust::read(path)?),
            TrustFrom::JoinToken => Some(Trust::Fingerprint(pinned.ok_or(NoWay::Unpinned)?)),
        })
    }
}

fn trust_from(control: &Url, config: &Config, joins: bool) -> anyhow::Result<TrustFrom> {
    match (control.scheme(), config.fingerprint, &config.ca_file) {
        ("http", _, _) => Ok(TrustFrom::Nowhere),
        ("https", Some(fingerprint), _) => Ok(TrustFrom::Fingerprint(fingerprint)),
        ("https", None, Some(path)) => Ok(TrustFrom::CaFile(path.clone())),
        ("https", None, None) if joins => Ok(TrustFrom::JoinToken),
        ("https", None, None) => bail!(
            "nothing says whom to take for {}: give --fingerprint with what the control plane's \
             log shows, --ca-file, or a join token with --join-token-file",
            origin(control)
        ),
        _ => bail!(
            "--control must be an https:// or http:// address, not {}",
            origin(control)
        ),
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
