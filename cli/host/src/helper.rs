//! Credential helpers: engines and the kubelet run them to get the host's
//! login.
//!
//! One program implements two protocols; its name selects one. Both give the
//! login only for the registry in the host's credential.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    path::Path,
};

use crate::credential::{CredentialError, HostCredential};

mod docker;
mod kubelet;
mod registry;

/// The program's name for the kubelet's protocol.
pub const KUBELET_PROGRAM: &str = "metahub-credential-provider";

/// The size limit of a request, in bytes. A kubelet request may hold a service
/// account token.
const MAX_REQUEST: u64 = 256 * 1024;

/// Reasons for a request without a result. Docker matches the text of
/// [`HelperError::NotFound`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// The registry differs from the one in the host's credential.
    #[error("credentials not found in native keychain")]
    NotFound,
    /// The request names no registry.
    #[error("no credentials server URL")]
    NoServer,
    /// The action is unknown.
    #[error("usage: docker-credential-metahub get|list|store|erase|version")]
    Usage,
    /// The engine tried to change the host's login.
    #[error(
        "the login for {registry} is this host's own: metahubctl host login writes it, \
         metahubctl host remove takes it away"
    )]
    Fixed {
        /// The registry's host.
        registry: String,
    },
    /// The request cannot be parsed.
    #[error("the request is not {expected}")]
    Request {
        /// The expected form.
        expected: &'static str,
        /// The parser's error.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The host's credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The request cannot be read, or the response cannot be written.
    #[error("cannot talk to the program that asks")]
    Io(#[from] io::Error),
}

/// Answers one request. `program`, the first argument of the process, selects
/// the protocol; `credential` is the path of the credential.
pub fn answer(
    program: &OsStr,
    action: Option<&str>,
    credential: &Path,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), HelperError> {
    let name = Path::new(program).file_name();
    let read = || HostCredential::read(credential);
    match name.is_some_and(|name| name == KUBELET_PROGRAM) {
        true => kubelet::answer(read, input, out),
        false => docker::answer(action, read, input, out),
    }
}

/// Reads the request, with a limit on its size.
fn request(input: &mut dyn Read) -> Result<String, HelperError> {
    let mut text = String::new();
    input.take(MAX_REQUEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_REQUEST {
        true => Err(HelperError::Request {
            expected: "shorter than 256 KiB",
            source: None,
        }),
        false => Ok(text),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A credential for tests.

    use secrecy::SecretString;
    use url::Url;

    use crate::credential::HostCredential;

    /// The credential of a host at `registry`.
    pub(crate) fn credential(registry: &str) -> HostCredential {
        HostCredential {
            schema: 1,
            registry: Url::parse(registry).unwrap(),
            control: Url::parse("https://control.example:7400").unwrap(),
            host_id: "node17".into(),
            machine_type: "qnib/type1".into(),
            login: "qnib-type1~node17".into(),
            secret: SecretString::from("hunter2"),
            registry_ca_pem: None,
            control_ca_pem: None,
            control_fingerprint: None,
            features: Vec::new(),
        }
    }
}
