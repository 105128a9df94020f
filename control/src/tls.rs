//! TLS on the control plane's port.
//!
//! The certificate is one that an authority of the control plane's own has
//! made, or one that the operator brings. Either way a new one is taken up
//! while the port is open: connections that are there go on.

mod authority;
mod brought;
mod worker;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use tokio::{sync::watch, time};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::brought::Brought;
pub(crate) use self::{
    authority::{Authority, Issued},
    worker::WorkerCertificate,
};
use crate::{
    Catalog, Config,
    records::{self, Key},
    tokens,
};

/// How often certificates are looked at: files for a change, others for their
/// age.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the port serves with, kept fresh.
#[derive(Debug)]
pub(crate) struct Tls {
    catalog: Catalog,
    source: Source,
    files: Files,
    /// What the authority was read from, which may be replaced.
    record: records::Authority,
    material: Material,
    current: watch::Sender<Arc<Served>>,
}

/// Where others read whom to trust.
#[derive(Debug)]
struct Files {
    ca: PathBuf,
    join_token: Option<PathBuf>,
}

/// What new connections are served with.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) config: Arc<ServerConfig>,
    /// The fingerprint of what the port's certificate is rooted in: `sha256:`
    /// and 64 hex digits. Callers pin it.
    pub(crate) fingerprint: String,
    /// What workers' certificates are from.
    pub(crate) authority: Arc<Authority>,
}

/// Where the port's certificate comes from.
#[derive(Debug)]
enum Source {
    /// The own authority makes it, for these names.
    Own {
        names: Vec<String>,
        made: SystemTime,
    },
    /// The operator brings it.
    Brought(Brought),
}

impl Tls {
    /// Reads or makes what the port is to serve with, at `addr`.
    pub(crate) async fn open(
        config: &Config,
        addr: SocketAddr,
        catalog: &Catalog,
    ) -> anyhow::Result<Self> {
        let record = catalog.authority().await;
        let record = record.context("cannot read or make the authority")?;
        let authority = Authority::of(&record).context("the stored authority is broken")?;
        let mut source = match Brought::of(config) {
            Some(files) => Source::Brought(files),
            None => Source::Own {
                names: names(config, addr),
                made: SystemTime::UNIX_EPOCH,
            },
        };
        let material = source
            .look(&authority)?
            .context("there is no certificate")?;
        let first = Served::with(Arc::new(authority), material.clone())?;
        Ok(Self {
            catalog: catalog.clone(),
            source,
            files: Files {
                ca: config.data_dir.join("ca.pem"),
                join_token: config.join_token_file.clone(),
            },
            record,
            material,
            current: watch::Sender::new(Arc::new(first)),
        })
    }

    /// What the newest connections are served with.
    pub(crate) fn current(&self) -> watch::Receiver<Arc<Served>> {
        self.current.subscribe()
    }

    /// Writes whom to trust to the files for that, if the port's certificate
    /// is from the own authority.
    pub(crate) fn publish(&self) -> anyhow::Result<()> {
        if let Source::Brought(_) = self.source {
            return Ok(());
        }
        let authority = self.current.borrow().authority.clone();
        let path = &self.files.ca;
        tokens::write_private(path, authority.trusted_pem().trim_end())
            .with_context(|| format!("cannot write {}", path.display()))?;
        if let (Some(path), Some(former)) = (&self.files.join_token, authority.former_fingerprint())
            && let Err(error) = tokens::repin_join_token(path, &former, authority.fingerprint())
        {
            // Whoever brings the file may keep others from writing to it.
            warn!("no worker joins by it once {former} is retired: {error:#}");
        }
        Ok(())
    }

    /// What the port's certificate is rooted in.
    pub(crate) fn fingerprint(&self) -> String {
        self.current.borrow().fingerprint.clone()
    }

    /// Takes up new certificates until `shutdown` is cancelled.
    pub(crate) async fn keep_fresh(mut self, shutdown: CancellationToken) {
        let mut ticks = time::interval(LOOK_INTERVAL);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.refresh() {
                warn!("the certificate stays as it was: {error:#}");
            }
        }
    }

    fn refresh(&mut self) -> anyhow::Result<()> {
        let newest = self.newest_record();
        let authority = match &newest {
            None => self.current.borrow().authority.clone(),
            Some(record) => {
                self.source.distrust();
                Arc::new(Authority::of(record).context("the stored authority is broken")?)
            }
        };
        let material = self.source.look(&authority)?;
        if newest.is_none() && material.is_none() {
            return Ok(());
        }
        if let Some(material) = material {
            self.material = material;
        }
        let next = Served::with(authority, self.material.clone())?;
        info!("took up a new certificate, rooted in {}", next.fingerprint);
        self.current.send_replace(Arc::new(next));
        match newest {
            None => Ok(()),
            Some(record) => {
                self.record = record;
                self.publish()
            }
        }
    }

    /// The record of the authority, if that was replaced.
    fn newest_record(&self) -> Option<records::Authority> {
        let policy = self.catalog.policy();
        let record = policy.find::<records::Authority>(&Key::authority());
        record.filter(|it| **it != self.record).cloned()
    }
}

/// What one configuration is made from.
#[derive(Clone, Debug)]
struct Material {
    key: CertifiedKey,
    /// Authorities of workers' certificates beside the own one.
    client_authorities: Vec<CertificateDer<'static>>,
}

impl Source {
    /// What the own authority has made is not to be served with any more.
    fn distrust(&mut self) {
        if let Self::Own { made, .. } = self {
            *made = SystemTime::UNIX_EPOCH;
        }
    }

    /// What to serve with from now on. `None`: what is served with is good.
    fn look(&mut self, authority: &Authority) -> anyhow::Result<Option<Material>> {
        match self {
            Self::Brought(files) => files.look(),
            Self::Own { names, made } => {
                let now = SystemTime::now();
                let age = now.duration_since(*made).unwrap_or(Duration::MAX);
                if age < authority::SERVER_LIFETIME / 2 {
                    return Ok(None);
                }
                let key = authority.server_certificate(names, now)?;
                *made = now;
                Ok(Some(Material {
                    key,
                    client_authorities: Vec::new(),
                }))
            }
        }
    }
}

impl Served {
    fn with(authority: Arc<Authority>, material: Material) -> anyhow::Result<Self> {
        let anchor = material.key.cert.last();
        Ok(Self {
            fingerprint: fingerprint(anchor.context("there is no certificate")?),
            config: server_config(&authority, material)?,
            authority,
        })
    }
}

fn server_config(authority: &Authority, material: Material) -> anyhow::Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in authority.trusted() {
        roots.add(certificate.clone())?;
    }
    for certificate in material.client_authorities {
        let added = roots.add(certificate);
        added.context("the authority of workers' certificates cannot be used")?;
    }
    // Admins have none. The gate asks workers for what they have shown.
    let verifier = WebPkiClientVerifier::builder(roots.into())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(
            tokio_rustls::rustls::sign::SingleCertAndKey::from(material.key),
        ));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would bring back a certificate that is not verified
    // again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The names that the own certificate is good for.
fn names(config: &Config, addr: SocketAddr) -> Vec<String> {
    let mut names = config.tls_names.clone();
    let loopback = ["localhost", "127.0.0.1", "::1"];
    names.extend(loopback.map(str::to_owned));
    if !addr.ip().is_unspecified() {
        names.push(addr.ip().to_string());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names.extend(Some(host.trim().to_owned()).filter(|host| is_name(host)));
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a certificate may name `text`: it is an address or a host's name.
pub(crate) fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() < 64 && label.bytes().all(inner)
    };
    let bare = text.strip_prefix("*.").unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (bare.len() < 254 && bare.split('.').all(label))
}

/// `sha256:` and the SHA-256 of a certificate, or a request for one, in 64 hex
/// digits.
fn fingerprint(der: &[u8]) -> String {
    let hash = digest(&SHA256, der);
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_host_or_an_address() {
        let names = ["control", "control.example.com", "*.example.com", "::1"];
        assert!(names.iter().all(|name| is_name(name)));

        let others = ["", "a b", "https://a", "a..b", "control:7400"];
        assert!(others.iter().all(|name| !is_name(name)));
    }
}
