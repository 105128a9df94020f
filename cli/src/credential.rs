//! What metahubctl calls the control plane with: a token that is given, else a
//! sign-in, else the token that a control plane in this directory has left.

use std::fmt;

use anyhow::Context;
use secrecy::SecretString;
use serde::Serialize;

use crate::{config::Settings, failure::Failure, sign_in};

/// A token and where it was found.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) token: SecretString,
    /// What the control plane may ask the issuer with.
    pub(crate) access_token: Option<SecretString>,
    pub(crate) origin: Origin,
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// `--token-file`, the environment, or the settings file.
    TokenFile,
    /// `metahubctl auth login`.
    SignIn,
    /// The data directory of a control plane that runs here.
    DataDirectory,
}

/// The first that there is. A sign-in that has ended is an error: who has
/// signed in does not mean to be someone else.
pub(crate) async fn find(settings: &Settings) -> anyhow::Result<Credential> {
    let found = |token, origin| {
        Ok(Credential {
            token,
            access_token: None,
            origin,
        })
    };
    if let Some(token) = settings.given_token()? {
        return found(token.clone(), Origin::TokenFile);
    }
    let signed_in = match settings.sessions() {
        Ok(sessions) => sign_in::current(&sessions, &settings.control).await,
        // No home, no sign-ins.
        Err(_) => Ok(None),
    };
    if let Some(session) = signed_in.context("cannot use the sign-in")? {
        return Ok(Credential {
            token: session.id_token,
            access_token: session.access_token,
            origin: Origin::SignIn,
        });
    }
    match settings.local_token()? {
        Some(token) => found(token, Origin::DataDirectory),
        None => Err(Failure::NoToken.into()),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenFile => "a token file",
            Self::SignIn => "sign-in",
            Self::DataDirectory => "the control plane's own admin token, in ./metahub-data",
        })
    }
}
