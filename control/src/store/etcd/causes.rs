//! Why a node was not reached, in words for an operator.

use std::{error::Error, io, sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, AlertDescription, CertificateError, ClientConfig, pki_types::ServerName},
};
use tonic::Status;
use url::Url;

/// How long a node may take to say what is wrong with a certificate.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a status says and what lies behind it. "transport error" alone helps
/// no one.
pub(super) fn causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The fault of a certificate on either side. `None`: nothing, or the node
/// is not reached at all. HTTP/2 only tells that the connection is closed.
pub(super) async fn tls_problem(url: &str, config: ClientConfig) -> Option<&'static str> {
    let shaken = timeout(PROBE_TIMEOUT, shake_hands(url, config)).await;
    let error = shaken.ok()?.err()?;
    plain(error.get_ref()?.downcast_ref()?)
}

async fn shake_hands(url: &str, config: ClientConfig) -> io::Result<()> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let port = url.port_or_known_default().unwrap_or_default();
    let stream = TcpStream::connect((host, port)).await?;
    let mut secured = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    // What the node makes of this side's certificate comes after that.
    secured.read_u8().await.map(|_| ())
}

fn plain(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                Some("it asks for a client certificate: add --etcd-cert-file and --etcd-key-file")
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => {
                Some("it refuses the client certificate in --etcd-cert-file")
            }
            _ => None,
        },
        rustls::Error::InvalidCertificate(invalid) => match invalid {
            CertificateError::UnknownIssuer => {
                Some("its certificate is of no authority in --etcd-ca-file")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some("its certificate is for another name than that in the URL")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some("its certificate has expired")
            }
            _ => None,
        },
        _ => None,
    }
}
