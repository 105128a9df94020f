//! The way to the control plane: whom the worker takes for it, and how it
//! proves who it is.
//!
//! Files are read at each connect, so that what they hold can be replaced
//! while the worker runs.

use std::{io, path::PathBuf, time::Duration};

use anyhow::bail;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use url::Url;

use crate::{
    Config, dns,
    trust::{Fingerprint, Trust, TrustError},
};

/// How long one try to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The way to the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    control: Endpoint,
    trust: Option<TrustFrom>,
    /// The file that holds the worker token.
    token_file: PathBuf,
}

/// Where it stands whom to trust. Plain text needs none.
#[derive(Clone, Debug)]
enum TrustFrom {
    Fingerprint(Fingerprint),
    CaFile(PathBuf),
}

/// A connection to the control plane, and what each call must say.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) channel: Channel,
    pub(crate) bearer: MetadataValue<Ascii>,
}

/// Why there is no way to the control plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoWay {
    #[error("cannot read the worker token {}: {}", .0.display(), .1)]
    Token(PathBuf, #[source] io::Error),
    #[error("the worker token is not one line of text")]
    BadToken,
    #[error("cannot read the host's DNS settings: {0}")]
    Dns(#[from] hickory_resolver::net::NetError),
    #[error("{}{}", .0, causes(.0))]
    Trust(#[from] TrustError),
    #[error("cannot connect{}", causes(.0))]
    Connect(#[from] tonic::transport::Error),
}

impl Identity {
    /// What the settings say. What cannot work fails here.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            control: Endpoint::from_shared(config.control.to_string())?,
            trust: trust_from(config)?,
            token_file: config.token_file.clone(),
        })
    }

    /// Goes to a control plane at `url` in plain text.
    #[cfg(test)]
    pub(crate) fn plain(url: String, token_file: PathBuf) -> Self {
        Self {
            control: Endpoint::from_shared(url).expect("a URL"),
            trust: None,
            token_file,
        }
    }

    /// Opens a new connection, with what the files hold now.
    pub(crate) async fn connect(&self) -> Result<Door, NoWay> {
        let bearer = self.bearer().await?;
        let endpoint = match &self.trust {
            None => self.control.clone(),
            Some(from) => from.trust()?.secure(self.control.clone(), None)?,
        };
        let connector = dns::connector(CONNECT_TIMEOUT)?;
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Door { channel, bearer })
    }

    async fn bearer(&self) -> Result<MetadataValue<Ascii>, NoWay> {
        let token = tokio::fs::read_to_string(&self.token_file).await;
        let token = token.map_err(|error| NoWay::Token(self.token_file.clone(), error))?;
        let bearer = format!("Bearer {}", token.trim());
        let mut bearer = MetadataValue::try_from(bearer).map_err(|_| NoWay::BadToken)?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }
}

impl TrustFrom {
    fn trust(&self) -> Result<Trust, TrustError> {
        match self {
            Self::Fingerprint(fingerprint) => Ok(Trust::Fingerprint(*fingerprint)),
            Self::CaFile(path) => Trust::read(path),
        }
    }
}

fn trust_from(config: &Config) -> anyhow::Result<Option<TrustFrom>> {
    let Config {
        control,
        fingerprint,
        ca_file,
        ..
    } = config;
    match (control.scheme(), ca_file, fingerprint) {
        ("http", _, _) => Ok(None),
        ("https", _, Some(fingerprint)) => Ok(Some(TrustFrom::Fingerprint(*fingerprint))),
        ("https", Some(path), None) => Ok(Some(TrustFrom::CaFile(path.clone()))),
        ("https", None, None) => bail!(
            "nothing says whom to take for {}: give --fingerprint with what the control plane's \
             log shows, or --ca-file",
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

/// What is behind an error whose own text says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn way(args: &[&str]) -> anyhow::Result<Identity> {
        let program = ["metahub-worker"].iter();
        Identity::new(&Config::parse_from(program.chain(args)))
    }

    #[test]
    fn a_control_plane_with_tls_is_trusted_for_a_reason_only() {
        let fingerprint = format!("--fingerprint=sha256:{}", "0a".repeat(32));

        assert!(way(&["--control=http://control:7400"]).is_ok());
        assert!(way(&["--control=https://control:7400"]).is_err());
        assert!(way(&["--control=https://control:7400", &fingerprint]).is_ok());
        assert!(way(&["--control=ftp://control:7400"]).is_err());
    }
}
