//! The way to the control plane: whom the worker takes for it, and how it
//! proves who it is.
//!
//! Files are read at each connect, so that what they hold can be replaced
//! while the worker runs.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{bail, ensure};
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
#[derive(Debug)]
pub(crate) struct Identity {
    /// One for each replica, one at least.
    ways: Vec<Way>,
    /// The replica that is tried next. Where workers begin differs, so that
    /// they spread over the replicas.
    next: AtomicUsize,
    /// The file that holds the worker token.
    token_file: PathBuf,
}

/// The way to one replica.
#[derive(Clone, Debug)]
struct Way {
    control: Endpoint,
    trust: Option<TrustFrom>,
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
    #[error("there is no control plane to connect to")]
    Nowhere,
    #[error("cannot connect{}", causes(.0))]
    Connect(#[from] tonic::transport::Error),
}

impl Identity {
    /// What the settings say. What cannot work fails here.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let way = |control: &Url| {
            anyhow::Ok(Way {
                control: Endpoint::from_shared(control.to_string())?,
                trust: trust_from(control, config)?,
            })
        };
        let ways: Vec<Way> = config.control.iter().map(way).collect::<Result<_, _>>()?;
        ensure!(!ways.is_empty(), "--control names no control plane");
        Ok(Self {
            next: AtomicUsize::new(fastrand::usize(..ways.len())),
            ways,
            token_file: config.token_file.clone(),
        })
    }

    /// Goes to a control plane at `url` in plain text.
    #[cfg(test)]
    pub(crate) fn plain(url: String, token_file: PathBuf) -> Self {
        Self {
            ways: vec![Way {
                control: Endpoint::from_shared(url).expect("a URL"),
                trust: None,
            }],
            next: AtomicUsize::new(0),
            token_file,
        }
    }

    /// Opens a new connection, with what the files hold now, to the first
    /// replica that takes it. Begins with another one each time.
    pub(crate) async fn connect(&self) -> Result<Door, NoWay> {
        let bearer = self.bearer().await?;
        let start = self.next.fetch_add(1, Relaxed) % self.ways.len();
        let (before, from) = self.ways.split_at(start);
        let mut outcome = Err(NoWay::Nowhere);
        for way in from.iter().chain(before) {
            outcome = way.connect().await;
            if outcome.is_ok() {
                break;
            }
        }
        let channel = outcome?;
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

impl Way {
    async fn connect(&self) -> Result<Channel, NoWay> {
        let endpoint = match &self.trust {
            None => self.control.clone(),
            Some(from) => from.trust()?.secure(self.control.clone(), None)?,
        };
        let connector = dns::connector(CONNECT_TIMEOUT)?;
        Ok(endpoint.connect_with_connector(connector).await?)
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

fn trust_from(control: &Url, config: &Config) -> anyhow::Result<Option<TrustFrom>> {
    let Config {
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
        assert!(way(&["--control=http://one:7400,https://two:7400"]).is_err());
    }

    #[tokio::test]
    async fn a_replica_that_does_not_answer_is_passed_over() {
        let token = tempfile::NamedTempFile::new().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = closed.local_addr().unwrap();
        drop(closed);
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = open.local_addr().unwrap();
        let both = format!("--control=http://{gone},http://{here}");
        let token = format!("--token-file={}", token.path().display());
        let identity = way(&[&both, &token]).unwrap();

        for _ in 0..2 {
            assert!(identity.connect().await.is_ok());
        }
    }
}
