//! Connections to the balancer: name resolution, TCP, TLS.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_resolver::TokioResolver;
use tokio::{
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::aws_lc_rs::default_provider,
        pki_types::{
            CertificateDer, ServerName,
            pem::{self, PemObject as _},
        },
    },
};
use url::Host;

/// The time limit for a TCP connection to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The time limit for the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(8);

/// Connects to one host.
pub(super) struct Dialer {
    host: Host,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    resolver: TokioResolver,
    /// The index of the address to try first at the next connection.
    turn: AtomicUsize,
}

/// A connection to the host, in plain text or by TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Reasons for a failed connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the name does not resolve")]
    Name(#[from] hickory_resolver::net::NetError),
    #[error("the name has no address")]
    NoAddress,
    #[error("cannot connect to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot agree on TLS")]
    Tls(#[source] io::Error),
    #[error("the TLS handshake takes too long")]
    TlsTimeout(#[from] Elapsed),
}

/// Reasons for a failed TLS setup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// `registry_ca_pem` cannot be parsed as certificates.
    #[error("registry_ca_pem is no certificate")]
    Pem(#[from] pem::Error),
    /// No root certificate is available to verify a server.
    #[error(
        "no certificate authority is known: install the package ca-certificates, or give --registry-ca to metahubctl host login"
    )]
    NoAuthority,
    /// The host's name is invalid in a handshake, or rustls rejects the
    /// settings.
    #[error("TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
}

impl Dialer {
    /// Builds a dialer for `host`, with TLS if `tls` is given.
    pub(super) fn new(
        host: Host,
        port: u16,
        tls: Option<(TlsConnector, ServerName<'static>)>,
        resolver: TokioResolver,
    ) -> Self {
        Self {
            host,
            port,
            tls,
            resolver,
            turn: AtomicUsize::new(0),
        }
    }

    /// Opens a connection to the first of the host's addresses that accepts
    /// one. Starts at another address each time.
    pub(super) async fn connect(&self) -> Result<Stream, DialError> {
        let addresses = self.addresses().await?;
        let first = self.turn.fetch_add(1, Relaxed);
        let mut failed = DialError::NoAddress;
        for n in 0..addresses.len() {
            let address = addresses[first.wrapping_add(n) % addresses.len()];
            match connect(address).await {
                Ok(stream) => return self.secured(stream).await,
                Err(source) => failed = DialError::Connect { address, source },
            }
        }
        Err(failed)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, DialError> {
        let name = match &self.host {
            Host::Ipv4(ip) => return Ok(vec![((*ip), self.port).into()]),
            Host::Ipv6(ip) => return Ok(vec![((*ip), self.port).into()]),
            Host::Domain(name) => name,
        };
        let found = self.resolver.lookup_ip(name.as_str()).await?;
        let addresses = found.iter().map(|ip| SocketAddr::new(ip, self.port));
        Ok(addresses.collect())
    }

    async fn secured(&self, stream: TcpStream) -> Result<Stream, DialError> {
        let Some((connector, name)) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let handshake = connector.connect(name.clone(), stream);
        let stream = timeout(TLS_TIMEOUT, handshake).await?;
        Ok(Stream::Tls(Box::new(stream.map_err(DialError::Tls)?)))
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A resolver with the system's settings, read by this process: a static binary
/// has no C library to do so. Without `/etc/resolv.conf` only addresses and the
/// hosts file work.
pub(super) fn resolver() -> Result<TokioResolver, hickory_resolver::net::NetError> {
    TokioResolver::builder_tokio()?.build()
}

/// TLS settings that trust the system's authorities and those in `ca_pem`.
pub(super) fn tls_connector(ca_pem: Option<&str>) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default().as_bytes()) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // HTTP/1.1 carries one transfer per connection. HTTP/2 would put all blobs
    // into one congestion window, and would cost more per byte.
    config.alpn_protocols = vec!["http/1.1".into()];
    Ok(Arc::new(config).into())
}
