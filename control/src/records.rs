//! The records that the control plane keeps, and the keys they are kept under.
//!
//! Plain values. Their JSON form is what the store holds, so fields are only
//! ever added, with a default. How records look on the wire is
//! `convert.rs`'s business.

mod hosts;
mod joining;
mod key;
mod login;
mod purge;
mod recipe;

use std::fmt;

use metahub_policy::{Cpu, Grant, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub(crate) use self::hosts::{Evidence, HOST_MARK, HostToken, LoginHost, ObservedHost};
pub(crate) use self::joining::{Authority, FormerAuthority, JoinToken, JoinedWorker};
pub(crate) use self::key::{Key, Kind};
pub(crate) use self::login::{Login, login_name};
pub(crate) use self::purge::Purge;
pub(crate) use self::recipe::Recipe;
use crate::access::Role;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    User(User),
    MachineType(MachineType),
    Login(Login),
    Upstream(Upstream),
    Rule(Rule),
    Pin(Pin),
    Cpu(Cpu),
    Recipe(Recipe),
    SigningKey(SigningKey),
    Grant(Grant),
    Authority(Authority),
    JoinToken(JoinToken),
    JoinedWorker(JoinedWorker),
    AdminToken(AdminToken),
    HostToken(HostToken),
    Purge(Purge),
}

/// An account: owns machine types and logins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    /// argon2id, as a PHC string. `None`: the user cannot log in with one.
    pub(crate) password_hash: Option<Secret>,
}

/// A named description of a kind of host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineType {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) spec: metahub_policy::MachineType,
}

/// A registry that workers pull from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Whether names without a host go to it. True for one upstream at most.
    pub(crate) is_default: bool,
    pub(crate) account: Option<Account>,
    /// Whether only users with a grant may pull from it, although it has no
    /// account.
    #[serde(default)]
    pub(crate) restricted: bool,
    /// Whether its certificate is not verified, and its account may go over
    /// plain http.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// Certificates of authorities that are trusted for it, as PEM.
    #[serde(default)]
    pub(crate) ca_pem: Option<String>,
    #[serde(default)]
    pub(crate) blobs: Blobs,
    /// Other names for it: a worker that is reached by one of them takes names
    /// without a host for this upstream's.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// Whether HTTP/1.1 alone is spoken to it.
    #[serde(default)]
    pub(crate) http1: bool,
    /// Further addresses of the same registry, tried in this order when `url`
    /// fails.
    #[serde(default)]
    pub(crate) fallback_urls: Vec<String>,
    /// How it is reached. `None`: as the worker's environment says.
    #[serde(default)]
    pub(crate) proxy: Option<Proxy>,
    /// The prefix of each repository's name at the registry.
    #[serde(default)]
    pub(crate) repository_prefix: Option<String>,
    /// Hosts whose token servers may see the account, beside the registry's own.
    #[serde(default)]
    pub(crate) token_hosts: Vec<String>,
    /// What the worker presents to the registry.
    #[serde(default)]
    pub(crate) client_certificate: Option<ClientCertificate>,
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// Its address, with a user name if it needs one, or [`Self::NONE`].
    pub(crate) url: String,
    /// Given if and only if the address has a user name.
    pub(crate) password: Option<Secret>,
}

/// A certificate for TLS clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientCertificate {
    /// The certificate with its chain, as PEM.
    pub(crate) cert_pem: String,
    /// Its key, as PEM.
    pub(crate) key_pem: Secret,
}

impl Proxy {
    /// Stands for a direct connection.
    pub(crate) const NONE: &str = "none";

    /// The proxy at `url`. Where that has a user name, the password is one to
    /// be filled in if it is not given.
    pub(crate) fn new(url: String, password: Option<Secret>) -> Self {
        let has_user = Url::parse(&url).is_ok_and(|url| !url.username().is_empty());
        let unknown = || has_user.then(|| Secret::from(String::new()));
        Self {
            password: password.or_else(unknown),
            url,
        }
    }
}

/// How blobs get to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Blobs {
    /// Through the worker.
    #[default]
    Proxy,
    /// From where the upstream redirects to, if that is another host; through
    /// the worker otherwise.
    Redirect,
}

/// Whom an upstream is pulled from as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// A variant that an admin has chosen for a machine type and repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) user: String,
    pub(crate) machine_type: String,
    /// As in [`Rule::repository`].
    pub(crate) repository: String,
    pub(crate) digest: String,
}

/// What workers sign client tokens with. Ed25519.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SigningKey {
    pub(crate) id: String,
    /// 32 bytes, base64url.
    pub(crate) seed: Secret,
    pub(crate) signs_from_unix_secs: u64,
}

/// What lets its holder call the admin API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AdminToken {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// For owners: whose records.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// For owners: patterns of the repositories that they may grant.
    #[serde(default)]
    pub(crate) grantable: Vec<String>,
    /// SHA-256 of the secret, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    pub(crate) created_by: String,
    pub(crate) created_unix_secs: u64,
    /// `None`: it is good until it is revoked.
    #[serde(default)]
    pub(crate) expires_unix_secs: Option<u64>,
    /// Coarse: written once a day at most.
    #[serde(default)]
    pub(crate) last_used_unix_secs: Option<u64>,
}

/// A text that must not show in logs: a password, a token or a hash of one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What a [`Record`] may hold.
pub(crate) trait Kept: Into<Record> {
    /// The kind of its records.
    const KIND: Kind;

    /// What `record` holds, when it is of this kind.
    fn of(record: &Record) -> Option<&Self>;
}

macro_rules! kept {
    ($($name:ident),*) => {
        $(
            impl Kept for $name {
                const KIND: Kind = Kind::$name;

                fn of(record: &Record) -> Option<&Self> {
                    match record {
                        Record::$name(it) => Some(it),
                        _ => None,
                    }
                }
            }

            impl From<$name> for Record {
                fn from(it: $name) -> Self {
                    Self::$name(it)
                }
            }
        )*
    };
}

kept!(
    User,
    MachineType,
    Login,
    Upstream,
    Rule,
    Pin,
    Cpu,
    Recipe,
    Grant,
    SigningKey,
    Authority,
    JoinToken,
    JoinedWorker,
    AdminToken,
    HostToken,
    Purge
);

impl Record {
    /// The key that the record is kept under.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::User(user) => Key::user(&user.name),
            Self::MachineType(it) => Key::machine_type(&it.user, &it.name),
            Self::Login(login) => Key::login(&login.name()),
            Self::Upstream(upstream) => Key::upstream(&upstream.name),
            Self::Rule(rule) => Key::rule(&rule.name),
            Self::Pin(pin) => Key::pin(&pin.user, &pin.machine_type, &pin.repository),
            Self::Cpu(cpu) => Key::cpu(&cpu.name),
            Self::SigningKey(it) => Key::signing_key(&it.id),
            Self::Recipe(it) => Key::recipe(&it.digest, &it.upstream, &it.repository),
            Self::Grant(it) => Key::grant(it.user.as_deref(), &it.repository),
            Self::Authority(_) => Key::authority(),
            Self::JoinToken(it) => Key::join_token(&it.name),
            Self::JoinedWorker(it) => Key::joined_worker(&it.id),
            Self::AdminToken(it) => Key::admin_token(&it.name),
            Self::HostToken(it) => Key::host_token(&it.user, &it.name),
            Self::Purge(it) => Key::purge(&it.id),
        }
    }

    /// The record without its kind, which the key tells.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        match self {
            Self::User(it) => serde_json::to_string(it),
            Self::MachineType(it) => serde_json::to_string(it),
            Self::Login(it) => serde_json::to_string(it),
            Self::Upstream(it) => serde_json::to_string(it),
            Self::Rule(it) => serde_json::to_string(it),
            Self::Pin(it) => serde_json::to_string(it),
            Self::Cpu(it) => serde_json::to_string(it),
            Self::Recipe(it) => serde_json::to_string(it),
            Self::SigningKey(it) => serde_json::to_string(it),
            Self::Grant(it) => serde_json::to_string(it),
            Self::Authority(it) => serde_json::to_string(it),
            Self::JoinToken(it) => serde_json::to_string(it),
            Self::JoinedWorker(it) => serde_json::to_string(it),
            Self::AdminToken(it) => serde_json::to_string(it),
            Self::HostToken(it) => serde_json::to_string(it),
            Self::Purge(it) => serde_json::to_string(it),
        }
    }

    /// Undoes [`Record::to_json`].
    pub(crate) fn from_json(kind: Kind, json: &str) -> serde_json::Result<Self> {
        Ok(match kind {
            Kind::User => Self::User(serde_json::from_str(json)?),
            Kind::MachineType => Self::MachineType(serde_json::from_str(json)?),
            Kind::Login => Self::Login(serde_json::from_str(json)?),
            Kind::Upstream => Self::Upstream(serde_json::from_str(json)?),
            Kind::Rule => Self::Rule(serde_json::from_str(json)?),
            Kind::Pin => Self::Pin(serde_json::from_str(json)?),
            Kind::Cpu => Self::Cpu(serde_json::from_str(json)?),
            Kind::Recipe => Self::Recipe(serde_json::from_str(json)?),
            Kind::SigningKey => Self::SigningKey(serde_json::from_str(json)?),
            Kind::Grant => Self::Grant(serde_json::from_str(json)?),
            Kind::Authority => Self::Authority(serde_json::from_str(json)?),
            Kind::JoinToken => Self::JoinToken(serde_json::from_str(json)?),
            Kind::JoinedWorker => Self::JoinedWorker(serde_json::from_str(json)?),
            Kind::AdminToken => Self::AdminToken(serde_json::from_str(json)?),
            Kind::HostToken => Self::HostToken(serde_json::from_str(json)?),
            Kind::Purge => Self::Purge(serde_json::from_str(json)?),
        })
    }

    /// The record with `***` for every secret: what an audit may show.
    pub(crate) fn redacted(&self) -> Self {
        let mut copy = self.clone();
        match &mut copy {
            Self::User(user) => {
                if let Some(hash) = &mut user.password_hash {
                    *hash = Secret::stars();
                }
            }
            Self::Login(login) => login.secret_sha256 = Secret::stars(),
            Self::SigningKey(key) => key.seed = Secret::stars(),
            Self::Authority(authority) => authority.key_pem = Secret::stars(),
            Self::JoinToken(token) => token.secret_sha256 = Secret::stars(),
            Self::AdminToken(token) => token.secret_sha256 = Secret::stars(),
            Self::HostToken(token) => token.secret_sha256 = Secret::stars(),
            Self::Upstream(upstream) => {
                for secret in upstream.secrets_mut().into_iter().flatten() {
                    *secret = Secret::stars();
                }
            }
            Self::MachineType(_)
            | Self::Rule(_)
            | Self::Pin(_)
            | Self::Cpu(_)
            | Self::Recipe(_)
            | Self::Grant(_)
            | Self::JoinedWorker(_)
            | Self::Purge(_) => {}
        }
        copy
    }
}

impl Upstream {
    /// Its secrets: of the account, the proxy, and the client certificate.
    pub(crate) fn secrets_mut(&mut self) -> [Option<&mut Secret>; 3] {
        [
            self.account.as_mut().map(|it| &mut it.password),
            self.proxy.as_mut().and_then(|it| it.password.as_mut()),
            self.client_certificate.as_mut().map(|it| &mut it.key_pem),
        ]
    }
}

impl Secret {
    /// What it hides.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    fn stars() -> Self {
        Self("***".into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream() -> Record {
        Record::Upstream(Upstream {
            name: "ghcr.io".into(),
            url: "https://ghcr.io".into(),
            is_default: false,
            account: Some(Account {
                username: "robot".into(),
                password: Secret::from("hunter2".to_owned()),
            }),
            restricted: false,
            insecure: false,
            ca_pem: None,
            blobs: Blobs::Proxy,
            hosts: vec!["mirror.test".into()],
            http1: false,
            fallback_urls: vec!["https://second.ghcr.io".into()],
            proxy: Some(Proxy::new(
                "http://robot@proxy.test:3128".into(),
                Some(Secret::from("hunter2".to_owned())),
            )),
            repository_prefix: Some("hub".into()),
            token_hosts: vec!["token.test".into()],
            client_certificate: Some(ClientCertificate {
                cert_pem: "-----BEGIN CERTIFICATE-----".into(),
                key_pem: Secret::from("hunter2".to_owned()),
            }),
        })
    }

    #[test]
    fn a_record_survives_its_json() {
        let record = upstream();

        let json = record.to_json().unwrap();

        assert_eq!(Record::from_json(Kind::Upstream, &json).unwrap(), record);
    }

    #[test]
    fn a_password_shows_neither_in_debug_nor_in_the_audit() {
        let record = upstream();

        let debug = format!("{record:?}");
        let audit = record.redacted().to_json().unwrap();

        assert!(!debug.contains("hunter2") && !audit.contains("hunter2"));
    }

    #[test]
    fn an_upstream_from_before_options_has_none() {
        let json = r#"{"name":"a.b","url":"https://a.b","is_default":false,"account":null}"#;

        let read = Record::from_json(Kind::Upstream, json).unwrap();

        assert!(matches!(read, Record::Upstream(it) if !it.restricted && it.hosts.is_empty()));
    }

    #[test]
    fn a_key_tells_the_kind_of_its_record() {
        let record = upstream();

        assert_eq!(record.key().kind(), Kind::Upstream);
    }
}
