//! The nodes of an etcd cluster, as connections that open when they are used.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tracing::{info, warn};

use super::{EtcdAccess, causes::tls_problem};
use crate::{
    records::Secret,
    store::{StoreError, location::EtcdCluster},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// etcd turns clients away that ping more often than every five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The nodes of a cluster, in an order of this process's own, so that the
/// replicas of a control plane do not all lean on the first.
///
/// Secrets are read from their files whenever they are used: one that is
/// renewed on disk is taken up without a restart.
pub(super) struct Nodes {
    pub(super) urls: Vec<String>,
    access: EtcdAccess,
    open: Mutex<OpenChannels>,
}

/// What the connections were made with.
struct OpenChannels {
    files: Files,
    channels: Vec<Channel>,
}

/// What the certificate files hold.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Nodes {
    /// All nodes of `cluster`. Connects when they are used.
    pub(super) fn new(cluster: &EtcdCluster, access: &EtcdAccess) -> Result<Self, StoreError> {
        let mut urls = cluster.endpoints.clone();
        fastrand::shuffle(&mut urls);
        let files = Files::read(access)?;
        let channels = files.channels(&urls)?;
        let nodes = Self {
            urls,
            access: access.clone(),
            open: Mutex::new(OpenChannels { files, channels }),
        };
        nodes.user()?;
        Ok(nodes)
    }

    /// The connection to one, with the certificates that the files hold now.
    pub(super) fn channel(&self, at: usize) -> Channel {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that is being replaced is read at the next call.
        if let Ok(files) = Files::read(&self.access)
            && files != open.files
        {
            match files.channels(&self.urls) {
                Ok(channels) => {
                    info!("took up new certificates for etcd");
                    open.channels = channels;
                }
                Err(error) => warn!("etcd is reached with the former certificates: {error}"),
            }
            open.files = files;
        }
        open.channels[at].clone()
    }

    /// The fault of the certificate of this client or of a node, if any.
    pub(super) async fn tls_problem(&self, at: usize) -> Option<&'static str> {
        let files = Files::read(&self.access).ok()?;
        tls_problem(&self.urls[at], files.client_config()?).await
    }

    /// The user that the client logs in as, and the password.
    pub(super) fn user(&self) -> Result<Option<(String, Secret)>, StoreError> {
        let access = &self.access;
        let (Some(name), Some(file)) = (&access.etcd_username, &access.etcd_password_file) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        Ok(Some((name.clone(), Secret::from(password.to_owned()))))
    }
}

impl Files {
    fn read(access: &EtcdAccess) -> Result<Self, StoreError> {
        let identity = match (&access.etcd_cert_file, &access.etcd_key_file) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        Ok(Self {
            ca: access.etcd_ca_file.as_deref().map(read).transpose()?,
            identity,
        })
    }

    fn channels(&self, urls: &[String]) -> Result<Vec<Channel>, StoreError> {
        urls.iter().map(|url| self.channel(url)).collect()
    }

    fn channel(&self, url: &str) -> Result<Channel, StoreError> {
        let unusable = |reason: &'static str| StoreError::Settings { reason };
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|_| unusable("an endpoint of etcd is no URL"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        if url.starts_with("https:") {
            endpoint = endpoint
                .tls_config(self.tls()?)
                .map_err(|_| unusable("the certificate or key file for etcd cannot be used"))?;
        }
        Ok(endpoint.connect_lazy())
    }

    /// The same as for the connections, to find out what is wrong with them.
    fn client_config(&self) -> Option<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authorities = CertificateDer::pem_slice_iter(self.ca.as_ref()?);
        roots.add_parsable_certificates(authorities.flatten());
        let config = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Some(config.with_no_client_auth());
        };
        let chain = CertificateDer::pem_slice_iter(certificate).flatten();
        let key = PrivateKeyDer::from_pem_slice(key).ok()?;
        config.with_client_auth_cert(chain.collect(), key).ok()
    }

    fn tls(&self) -> Result<ClientTlsConfig, StoreError> {
        let unusable = |reason: &'static str| StoreError::Settings { reason };
        let ca = self.ca.as_ref();
        let ca = ca.ok_or(unusable("etcd's endpoints are https: add --etcd-ca-file"))?;
        if !matches!(CertificateDer::pem_slice_iter(ca).next(), Some(Ok(_))) {
            return Err(unusable(
                "--etcd-ca-file holds no certificate: it starts with `-----BEGIN CERTIFICATE-----`",
            ));
        }
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|source| StoreError::File {
        path: PathBuf::from(path),
        source,
    })
}
