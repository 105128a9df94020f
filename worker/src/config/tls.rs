//! Settings of TLS on the registry API's port.

use std::{fmt, path::PathBuf};

/// The TLS settings of the registry API. Default: plain text.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsConfig {
    /// Serve the registry API over TLS, with the certificate in this file, its
    /// chain after it, as PEM. Read again when it changes.
    #[arg(
        long,
        env = "METAHUB_REGISTRY_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate, as PEM. Read again when it changes.
    #[arg(
        long,
        env = "METAHUB_REGISTRY_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// Take a client certificate that one of these authorities issued, as PEM,
    /// for the login that the certificate names. Read again when it changes.
    #[arg(
        long,
        env = "METAHUB_REGISTRY_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,
}

impl fmt::Display for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |file: &Option<PathBuf>| {
            let file = file.as_ref();
            file.map_or("none".to_owned(), |it| it.display().to_string())
        };
        write!(
            f,
            "tls_cert={} tls_key={} tls_client_ca={}",
            shown(&self.tls_cert),
            shown(&self.tls_key),
            shown(&self.tls_client_ca)
        )
    }
}
