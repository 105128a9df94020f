//! The files of a certificate, its key and the authorities of client
//! certificates.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{self, SHA256};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::TlsConfig;

/// The offered protocols, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The paths of the files.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_authorities: Option<PathBuf>,
}

/// The contents of the files.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

/// A digest of the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([u8; 32]);

impl Files {
    /// The files that the settings name. `None`: they name none.
    pub(super) fn of(config: &TlsConfig) -> Option<Self> {
        Some(Self {
            certificate: config.tls_cert.clone()?,
            key: config.tls_key.clone()?,
            client_authorities: config.tls_client_ca.clone(),
        })
    }

    /// Reads the files.
    pub(super) fn read(&self) -> anyhow::Result<Contents> {
        let read = |file: &PathBuf| {
            fs::read(file).with_context(|| format!("cannot read {}", file.display()))
        };
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_authorities.as_ref().map(read).transpose()?,
        })
    }

    /// Builds the server configuration from `contents`.
    pub(super) fn server_config(&self, contents: &Contents) -> anyhow::Result<Arc<ServerConfig>> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key);
        let key = key.with_context(|| {
            let file = self.key.display();
            format!("{file} holds no private key that is not encrypted")
        })?;
        // Checks that certificate and key belong together.
        let pair = CertifiedKey::from_der(chain, key, &provider).with_context(|| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("{certificate} and {key} do not belong together")
        })?;
        let resolver = Arc::new(SingleCertAndKey::from(pair));
        let mut config = match self.authorities(contents)? {
            None => builder.with_no_client_auth().with_cert_resolver(resolver),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()?;
                let builder = builder.with_client_cert_verifier(verifier);
                let mut config = builder.with_cert_resolver(resolver);
                // A resumed session would restore a certificate without
                // verification.
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                config
            }
        };
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        Ok(Arc::new(config))
    }

    /// The authorities of client certificates. `None`: the server requests
    /// none.
    fn authorities(&self, contents: &Contents) -> anyhow::Result<Option<Arc<RootCertStore>>> {
        let files = self.client_authorities.as_ref();
        let Some((file, pem)) = files.zip(contents.client_authorities.as_ref()) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file, pem)? {
            let added = roots.add(certificate);
            added.with_context(|| format!("{} holds no authority", file.display()))?;
        }
        Ok(Some(Arc::new(roots)))
    }
}

impl Contents {
    /// The digest of the contents, equal only for equal contents.
    pub(super) fn stamp(&self) -> Stamp {
        let mut context = digest::Context::new(&SHA256);
        for file in [
            Some(&self.certificate),
            Some(&self.key),
            self.client_authorities.as_ref(),
        ] {
            let file = file.map(Vec::as_slice).unwrap_or_default();
            context.update(&(file.len() as u64).to_be_bytes());
            context.update(file);
        }
        let mut stamp = [0; 32];
        stamp.copy_from_slice(context.finish().as_ref());
        Stamp(stamp)
    }
}

fn certificates(file: &Path, pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("cannot read certificates from {}", file.display());
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = read.with_context(wrong)?;
    ensure!(!all.is_empty(), "{} holds no certificate", file.display());
    Ok(all)
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.certificate.display())
    }
}
