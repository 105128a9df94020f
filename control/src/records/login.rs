//! What hosts log in with.

use serde::{Deserialize, Serialize};

use super::{HOST_MARK, Key, Kind, LoginHost, Secret};

/// The login of a host. Its name is `<user>-<type>`, or
/// `<user>-<type>--<label>`, or `<user>-<type>~<host>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) machine_type: String,
    /// SHA-256 of the secret, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    /// Whether the host may add features after `+` in the login's name.
    pub(crate) allow_selectors: bool,
    /// What tells a further login of the type apart. `None`: the type's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The only host that may use the login. `None`: any host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<LoginHost>,
}

impl Login {
    /// What to give to `docker login -u`.
    pub(crate) fn name(&self) -> String {
        let own = login_name(&self.user, &self.machine_type);
        match (&self.label, &self.host) {
            (_, Some(host)) => format!("{own}{HOST_MARK}{}", host.id),
            (Some(label), None) => format!("{own}{LABEL_MARK}{label}"),
            (None, None) => own,
        }
    }

    /// The prefix of the login names of a type's hosts.
    pub(crate) fn of_hosts(user: &str, machine_type: &str) -> Key {
        Key::login(&format!("{}{HOST_MARK}", login_name(user, machine_type)))
    }

    /// What the names of a type's further logins start with.
    pub(crate) fn labelled(user: &str, machine_type: &str) -> Key {
        Key::login(&format!("{}{LABEL_MARK}", login_name(user, machine_type)))
    }

    /// The type's name in the key of a host's login. `None` for other keys.
    pub(crate) fn type_of_host_login(key: &Key) -> Option<&str> {
        if key.kind() != Kind::Login {
            return None;
        }
        let (login, _) = key.name().split_once(HOST_MARK)?;
        login.split_once('-').map(|(_, name)| name)
    }

    /// SHA-256 of the secret, 32 bytes.
    pub(crate) fn secret_sha256_bytes(&self) -> Vec<u8> {
        let hex = self.secret_sha256.expose().as_bytes().chunks_exact(2);
        hex.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    }
}

/// The separator before a login's label. No type's name has two dashes in a row.
const LABEL_MARK: &str = "--";

/// The name of the login for a machine type. No two types share one, since a
/// user's name has no `-`.
pub(crate) fn login_name(user: &str, machine_type: &str) -> String {
    format!("{user}-{machine_type}")
}
