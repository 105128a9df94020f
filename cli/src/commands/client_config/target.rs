//! What an engine is configured for: where MetaHub is, how the host shows its
//! identity there, and which registries' names are served by MetaHub.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::pull;

/// Everything that the files of one engine depend on.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where the engine sends its requests.
    pub(super) endpoint: Endpoint,
    /// The registries whose names are served by MetaHub.
    pub(super) upstreams: Upstreams,
    /// Whether a refusal must stay a refusal: the engine may not ask the
    /// registry itself.
    pub(super) enforce: bool,
}

/// MetaHub, as the engine reaches it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Scheme, host and port; no path.
    pub(super) url: Url,
    /// How the host shows its identity.
    pub(super) identity: Identity,
    /// Authorities that the engine must trust for `url`, as PEM.
    pub(super) ca_pem: Option<String>,
}

/// How a host shows its identity.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The engine shows none: the node proxy, or a provider, adds it.
    Added,
    /// With a login, in the engine's own configuration.
    Login(Login),
    /// With a client certificate. The paths are the host's.
    Certificate {
        /// The certificate, PEM.
        cert: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// A login.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) name: String,
    pub(super) secret: SecretString,
    /// Whether the credential helper of this host gives the same login.
    pub(super) has_helper: bool,
}

/// The registries whose names are served by MetaHub.
#[derive(Clone, Debug)]
pub(super) enum Upstreams {
    /// Each that an image may name.
    All,
    /// These, for example `docker.io`.
    Named(Vec<String>),
}

impl Upstreams {
    /// The names. Empty: all.
    pub(super) fn named(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::Named(names) => names,
        }
    }
}

impl Endpoint {
    /// The URL without a slash at its end.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Host and port, as image names have them.
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

    /// The texts that must not be shown.
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
