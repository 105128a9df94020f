//! The way to the control plane: whom the worker takes for it, and how it
//! proves who it is.
//!
//! Files are read at each connect, so that what they hold can be replaced
//! while the worker runs.

mod credential;
mod membership;
mod way;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    metadata::{Ascii, MetadataValue},
    transport,
};

use self::{membership::Membership, way::Way};
use crate::{Config, grpc_channel::GrpcChannel, trust::TrustError};

/// The way to the control plane, and what is shown there.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    way: Way,
    proof: Proof,
}

/// How the worker proves who it is.
#[derive(Clone, Debug)]
enum Proof {
    /// By the worker token in this file.
    Token(PathBuf),
    /// By a certificate that it got when it joined.
    Joined(Arc<Membership>),
    /// By a certificate of the operator's own PKI.
    Brought { certificate: PathBuf, key: PathBuf },
}

/// A connection to the control plane, and what each call must say.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) channel: GrpcChannel,
    /// `None`: a certificate was shown.
    pub(crate) bearer: Option<MetadataValue<Ascii>>,
}

/// Why there is no way to the control plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoWay {
    #[error("cannot read {}: {}", .0.display(), .1)]
    File(PathBuf, #[source] io::Error),
    #[error("the worker token is not one line of text")]
    BadToken,
    #[error("the join token in {} is none: it starts with `mh_join_`", .0.display())]
    BadJoinToken(PathBuf),
    #[error(
        "the join token names no control plane to trust: give its fingerprint with --fingerprint"
    )]
    Unpinned,
    #[error("cannot read the host's DNS settings: {0}")]
    Dns(#[from] hickory_resolver::net::NetError),
    #[error("{}{}", .0, causes(.0))]
    Trust(#[from] TrustError),
    #[error("there is no control plane to connect to")]
    Nowhere,
    #[error("cannot connect{}", causes(.0))]
    Connect(#[from] transport::Error),
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error(
        "this worker has no certificate that is still good, and {}; put a new join token from \
         `metahubctl worker token create` into {}: it is read at each try",
        refusal(.0),
        .1.display()
    )]
    NotAdmitted(Status, PathBuf),
    #[error(
        "this worker's certificate has expired: start it again with --join-token-file and a join \
         token from `metahubctl worker token create`"
    )]
    NoJoinToken,
    #[error("the certificate is not renewed: {}", refusal(.0))]
    NotRenewed(Status),
}

impl Identity {
    /// What the settings say of the worker `id`. What cannot work fails here.
    pub(crate) fn new(config: &Config, id: &str) -> anyhow::Result<Self> {
        let joins = config.join_token_file.is_some() || config.state_dir.is_some();
        let way = Way::new(config, joins)?;
        let brought = config
            .tls_cert_file
            .clone()
            .zip(config.tls_key_file.clone());
        let proof = match brought {
            Some((certificate, key)) => Proof::Brought { certificate, key },
            None if joins => {
                let membership = Membership::open(config, id);
                Proof::Joined(Arc::new(membership.context("cannot join")?))
            }
            None => Proof::Token(config.token_file.clone()),
        };
        let is_plain = config.control.iter().any(|it| it.scheme() == "http");
        if is_plain && !matches!(proof, Proof::Token(_)) {
            bail!("a worker shows its certificate over TLS only: give an https:// --control");
        }
        Ok(Self { way, proof })
    }

    /// Goes to a control plane at `url` in plain text.
    #[cfg(test)]
    pub(crate) fn plain(url: String, token_file: PathBuf) -> Self {
        Self {
            way: Way::plain(url),
            proof: Proof::Token(token_file),
        }
    }

    /// Opens a new connection, with what the files hold now. Joins first, if
    /// that is how the worker proves who it is and it has not.
    pub(crate) async fn connect(&self) -> Result<Door, NoWay> {
        match &self.proof {
            Proof::Token(file) => {
                let bearer = bearer(&read(file).await?)?;
                Ok(Door {
                    channel: self.way.open(None, None).await?.channel,
                    bearer: Some(bearer),
                })
            }
            Proof::Joined(membership) => Ok(Door {
                channel: membership.connect(&self.way).await?,
                bearer: None,
            }),
            Proof::Brought { certificate, key } => {
                let (certificate, key) = (read(certificate).await?, read(key).await?);
                let identity = transport::Identity::from_pem(certificate, key);
                Ok(Door {
                    channel: self.way.open(Some(identity), None).await?.channel,
                    bearer: None,
                })
            }
        }
    }

    /// Has a certificate renewed that is not from `authority`, by its
    /// fingerprint.
    pub(crate) fn heed(&self, authority: &str) {
        if let Proof::Joined(membership) = &self.proof {
            membership.heed(authority);
        }
    }

    /// Renews the certificate in good time, until `shutdown` is cancelled.
    pub(crate) async fn keep_fresh(self, shutdown: CancellationToken) {
        if let Proof::Joined(membership) = &self.proof {
            let renewing = membership.keep_fresh(&self.way);
            shutdown.run_until_cancelled(renewing).await;
        }
    }
}

async fn read(file: &Path) -> Result<String, NoWay> {
    let text = tokio::fs::read_to_string(file).await;
    text.map_err(|error| NoWay::File(file.to_owned(), error))
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, NoWay> {
    let bearer = format!("Bearer {}", token.trim());
    let mut bearer = MetadataValue::try_from(bearer).map_err(|_| NoWay::BadToken)?;
    bearer.set_sensitive(true);
    Ok(bearer)
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

fn refusal(status: &Status) -> String {
    match status.code() {
        Code::Unavailable | Code::Unknown => format!("the control plane did not answer: {status}"),
        _ => format!("the control plane refuses: {}", status.message()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn identity(args: &[&str]) -> anyhow::Result<Identity> {
        let program = ["metahub-worker"].iter();
        let config = Config::parse_from(program.chain(args));
        Identity::new(&config, "worker-0")
    }

    #[test]
    fn a_control_plane_with_tls_is_trusted_for_a_reason_only() {
        let fingerprint = format!("--fingerprint=sha256:{}", "0a".repeat(32));
        let https = "--control=https://control:7400";

        assert!(identity(&["--control=http://control:7400"]).is_ok());
        assert!(identity(&[https]).is_err());
        assert!(identity(&[https, &fingerprint]).is_ok());
        assert!(identity(&[https, "--join-token-file=token"]).is_ok());
        assert!(identity(&["--control=ftp://control:7400"]).is_err());
        assert!(identity(&["--control=http://one:7400,https://two:7400"]).is_err());
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
        let identity = identity(&[&both, &token]).unwrap();

        for _ in 0..2 {
            assert!(identity.connect().await.is_ok());
        }
    }

    #[test]
    fn no_worker_joins_over_plain_text() {
        let http = "--control=http://control:7400";

        assert!(identity(&[http, "--join-token-file=token"]).is_err());
    }
}
