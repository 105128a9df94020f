//! Certificates that the operator brings, read again when a file changes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, ensure};
use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::Material;
use crate::Config;

/// The files, and how they were when they were last read.
#[derive(Debug)]
pub(super) struct Brought {
    certificate: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
    seen: Vec<Stamp>,
}

/// What tells whether a file has changed.
type Stamp = Option<(SystemTime, u64)>;

impl Brought {
    /// The files that the settings name. `None`: they name none.
    pub(super) fn of(config: &Config) -> Option<Self> {
        Some(Self {
            certificate: config.tls_cert_file.clone()?,
            key: config.tls_key_file.clone()?,
            client_authorities: config.tls_client_ca_file.clone(),
            seen: Vec::new(),
        })
    }

    /// What the files hold, if they have changed. Files that cannot be used
    /// are reported once, not each time.
    pub(super) fn look(&mut self) -> anyhow::Result<Option<Material>> {
        let now = self.stamps();
        if now == self.seen {
            return Ok(None);
        }
        self.seen = now;
        self.read().map(Some)
    }

    fn stamps(&self) -> Vec<Stamp> {
        let files = [&self.certificate, &self.key].into_iter();
        files
            .chain(&self.client_authorities)
            .map(|file| {
                let about = fs::metadata(file).ok()?;
                Some((about.modified().ok()?, about.len()))
            })
            .collect()
    }

    fn read(&self) -> anyhow::Result<Material> {
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.with_context(|| format!("{} holds no key", self.key.display()))?;
        let chain = certificates(&self.certificate)?;
        // Checks that the two belong together.
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let key = key.with_context(|| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("{certificate} and {key} do not belong together")
        })?;
        let client_authorities = match &self.client_authorities {
            Some(file) => certificates(file)?,
            None => Vec::new(),
        };
        Ok(Material {
            key,
            client_authorities,
        })
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("cannot read certificates from {}", file.display());
    let read = CertificateDer::pem_file_iter(file).with_context(wrong)?;
    let all: Vec<_> = read.collect::<Result<_, _>>().with_context(wrong)?;
    ensure!(!all.is_empty(), "{} holds no certificate", file.display());
    Ok(all)
}
