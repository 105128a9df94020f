//! The target of an engine's configuration: MetaHub's address, the host's
//! identity, and the registries that MetaHub serves.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::pull;

/// All inputs for the files of one engine.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The endpoint for the engine's requests.
    pub(super) endpoint: Endpoint,
    /// The registries that MetaHub serves.
    pub(super) upstreams: Upstreams,
    /// Whether a refusal is final: the engine must not fall back to the
    /// registry itself.
    pub(super) enforce: bool,
}

/// MetaHub's address for the engine, with identity and trust.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The URL: scheme, host and port, without a path.
    pub(super) url: Url,
    /// The host's identity in the engine's requests.
    pub(super) identity: Identity,
    /// Authorities that the engine must trust for `url`, as PEM.
    pub(super) ca_pem: Option<String>,
}

/// The way that a host sends its identity.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The engine sends none: the node proxy or a provider adds it.
    Added,
    /// A login in the engine's own configuration.
    Login(Login),
    /// A client certificate. The paths are the host's.
    Certificate {
        /// The certificate's path. The file is PEM.
        cert: PathBuf,
        /// The key's path. The file is PEM.
        key: PathBuf,
    },
}

/// A login and its secret.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) name: String,
    pub(super) secret: SecretString,
    /// Whether the credential helper of this host gives the same login.
    pub(super) has_helper: bool,
}

/// The registries that MetaHub serves.
#[derive(Clone, Debug)]
pub(super) enum Upstreams {
    /// All registries.
    All,
    /// The listed registries, for example `docker.io`.
    Named(Vec<String>),
}

impl Upstreams {
    /// The names of the listed registries. Empty: all registries.
    pub(super) fn named(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::Named(names) => names,
        }
    }
}

impl Endpoint {
    /// The URL without a trailing slash.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The host and port, as in image names.
    pub(super) fn host(&self) -> String {
        pull::host(&self.url)
    }

    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    pub(super) fn login(&self) -> Option<&Login> {
        match &self.identity {
            Identity::Login(login) => Some(login),
            Identity::Added | Identity::Certificate { .. } => None,
        }
    }

    /// The secrets to leave out of output.
    pub(super) fn secrets(&self) -> Vec<String> {
        let login = self.login().into_iter();
        let texts = login.flat_map(|it| [it.basic(), it.secret.expose_secret().to_owned()]);
        texts.collect()
    }
}

impl Login {
    /// `name:secret` in base64 (RFC 7617).
    pub(super) fn basic(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.name, self.secret.expose_secret()))
    }
}
