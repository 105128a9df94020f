//! The nodes of an etcd cluster, as connections that open when they are used.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::EtcdAccess;
use crate::store::{StoreError, location::EtcdCluster};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// etcd turns clients away that ping more often than every five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) url: String,
    pub(super) channel: Channel,
}

/// All nodes of `cluster`, in an order of this process's own, so that the
/// replicas of a control plane do not all lean on the first.
pub(super) fn nodes(cluster: &EtcdCluster, access: &EtcdAccess) -> Result<Vec<Node>, StoreError> {
    let tls = tls(access)?;
    let node = |url: &String| {
        let unusable = |reason: &'static str| StoreError::Settings { reason };
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| unusable("an endpoint of etcd is no URL"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        if url.starts_with("https:") {
            let tls = tls.clone();
            let tls = tls.ok_or(unusable("etcd's endpoints are https: add --etcd-ca-file"))?;
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|_| unusable("the certificates for etcd cannot be used"))?;
        }
        Ok(Node {
            url: url.clone(),
            channel: endpoint.connect_lazy(),
        })
    };
    let mut nodes: Vec<Node> = cluster
        .endpoints
        .iter()
        .map(node)
        .collect::<Result<_, StoreError>>()?;
    fastrand::shuffle(&mut nodes);
    Ok(nodes)
}

fn tls(access: &EtcdAccess) -> Result<Option<ClientTlsConfig>, StoreError> {
    let Some(ca_file) = &access.etcd_ca_file else {
        return Ok(None);
    };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca_file)?));
    if let (Some(certificate), Some(key)) = (&access.etcd_cert_file, &access.etcd_key_file) {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(Some(tls))
}

/// The user that the client logs in as, and the password.
pub(super) fn user(access: &EtcdAccess) -> Result<Option<(String, String)>, StoreError> {
    let (Some(name), Some(file)) = (&access.etcd_username, &access.etcd_password_file) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    Ok(Some((name.clone(), password.to_owned())))
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|source| StoreError::File {
        path: PathBuf::from(path),
        source,
    })
}
