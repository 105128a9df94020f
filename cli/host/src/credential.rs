//! The credential file of a host: `metahubctl host login` writes it, the node
//! proxy and the credential helpers read it.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// Where the file is, unless a flag or `METAHUB_HOST_CREDENTIAL` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/metahub/host.json";

/// The identity of one host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostCredential {
    /// The version of this form: 1.
    pub schema: u32,
    /// The workers' address as the host reaches it, for example
    /// `https://metahub.example`.
    pub registry: Url,
    /// The control plane's gRPC address.
    pub control: Url,
    /// The host's id, unique among its user's hosts.
    pub host_id: String,
    /// `<user>/<type>`.
    pub machine_type: String,
    /// The login's name, for example `qnib-type1~node17`.
    pub login: String,
    /// The login's secret.
    #[serde(serialize_with = "exposed")]
    pub secret: SecretString,
    /// Certificates of authorities that are trusted for `registry` besides the
    /// system's, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_ca_pem: Option<String>,
    /// Certificates of authorities that are trusted for `control`, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_ca_pem: Option<String>,
    /// The fingerprint of the authority that is trusted for `control`:
    /// `sha256:` and 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_fingerprint: Option<String>,
    /// Features given at the login: undetectable ones, and replacements for
    /// detected ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Why a credential file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// It cannot be read.
    #[error("cannot read the host's credential in {path}: run metahubctl host login on this host")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a credential file.
    #[error("{path} is no credential of a host: run metahubctl host login again")]
    Parse {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written.
    #[error("cannot write the host's credential to {path}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HostCredential {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let text = fs::read(path).map_err(|source| CredentialError::Read {
            path: path.display().to_string(),
            source,
        })?;
        serde_json::from_slice(&text).map_err(|source| CredentialError::Parse {
            path: path.display().to_string(),
            source,
        })
    }

    /// Replaces the file at `path` in one step; only its owner can read it.
    /// Makes the directory where there is none.
    pub fn write(&self, path: &Path) -> Result<(), CredentialError> {
        self.replace(path).map_err(|source| CredentialError::Write {
            path: path.display().to_string(),
            source,
        })
    }

    /// Fails if no file can be written to `path`. Creates a missing directory
    /// and changes no file.
    pub fn check_writable(path: &Path) -> Result<(), CredentialError> {
        let directory = directory_of(path);
        let made = fs::create_dir_all(directory);
        let tried = made.and_then(|()| tempfile::NamedTempFile::new_in(directory));
        tried.map(drop).map_err(|source| CredentialError::Write {
            path: path.display().to_string(),
            source,
        })
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let directory = directory_of(path);
        fs::create_dir_all(directory)?;
        let file = tempfile::NamedTempFile::new_in(directory)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o600))?;
        serde_json::to_writer_pretty(&file, self)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

fn exposed<S: serde::Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> HostCredential {
        HostCredential {
            schema: 1,
            registry: Url::parse("https://metahub.example").unwrap(),
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

    #[test]
    fn a_written_credential_is_read_back_and_only_its_owner_can_read_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metahub/host.json");

        credential().write(&path).unwrap();

        let read = HostCredential::read(&path).unwrap();
        assert_eq!(read.secret.expose_secret(), "hunter2");
        assert_eq!(read.login, "qnib-type1~node17");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_missing_file_says_how_to_make_one() {
        let error = HostCredential::read(Path::new("/nowhere/host.json")).unwrap_err();

        assert!(error.to_string().contains("host login"), "{error}");
    }

    #[test]
    fn the_secret_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", credential()).contains("hunter2"));
    }
}
