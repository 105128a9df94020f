//! The policy as a file says it.
//!
//! One form for all: the static mode's file, `metahubctl apply`, `diff` and
//! `export`. What an admin decides is in it, what MetaHub makes on its own is
//! not: recipes, signing keys, tokens, workers.

mod apply;
mod check;
mod export;
mod form;
mod plan;
mod rollback;

use std::path::PathBuf;

use metahub_policy::{GpuMatch, MatchMode, OnNoMatch, Platforms, Present};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::apply::{Mode, Outcome};
use crate::{
    Revision, Secret,
    policy::Policy,
    records::{Blobs, Kind},
};

/// The kinds of records that a declaration may state. Whatever it leaves out,
/// no other kind is ever touched.
pub(crate) const DECLARED: [Kind; 8] = [
    Kind::User,
    Kind::Upstream,
    Kind::Grant,
    Kind::Cpu,
    Kind::Rule,
    Kind::MachineType,
    Kind::Login,
    Kind::Pin,
];

/// A MetaHub policy: users with their machine types, upstreams, rules, pins,
/// grants and CPU names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "MetaHub policy")]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The users, with their machine types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<DeclaredUser>,
    /// The upstreams. Left out, it means Docker Hub, as the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<DeclaredUpstream>>,
    /// What hosts need for variants that their author did not label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<DeclaredRule>,
    /// The variants that are chosen for a machine type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<DeclaredPin>,
    /// Who may pull from restricted upstreams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<DeclaredGrant>,
    /// CPU names beyond the built-in table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<DeclaredCpu>,
}

/// A user: owns machine types and logins.
///
/// At most one of the password's fields is given. None: the user keeps the
/// password that it has; a new one cannot log in with one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUser {
    /// Its name: `[a-z0-9]+([._][a-z0-9]+)*`.
    pub name: String,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// The file that holds its password, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The argon2 hash of its password, as `export --with-secrets` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub password_hash: Option<Secret>,
    /// Its machine types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<DeclaredType>,
}

/// A machine type and its login, `<user>-<type>`.
///
/// At most one of the secret's fields is given. None: the login keeps the
/// secret that it has; for a new one MetaHub makes a secret and shows it once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredType {
    /// Its name: `[a-z0-9]+([._-][a-z0-9]+)*`.
    pub name: String,
    /// Whether it has no login.
    #[serde(default, skip_serializing_if = "is_default")]
    pub without_login: bool,
    /// What hosts log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// The file that holds what hosts log in with, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// SHA-256 of what hosts log in with, in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub secret_sha256: Option<Secret>,
    /// Whether hosts may add features after `+` in the login's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_selectors: bool,
    /// Further logins of the type, each with a secret of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<DeclaredLogin>,
    /// The operating system. Default: `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The architecture in Go's words, for example `amd64`. Default: implied by
    /// the features' `cpu`, or any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The variant of a 32-bit arm host, for example `v7`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of a Windows host, for example `10.0.20348.1`. Default: any.
    #[serde(
        default,
        rename = "os.version",
        alias = "os_version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the host has, for example `cpu:broadwell`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// CPU names whose builds the host runs besides those of its ancestors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_runs: Vec<String>,
    /// How a host with several GPUs matches.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpu: GpuMatch,
    /// How a variant is chosen.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub mode: MatchMode,
    /// What a host is told when no variant fits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_no_match: OnNoMatch,
    /// In what form the chosen variant is answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub present: Present,
    /// Which platforms the answer has: `all` for hosts that build for others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub platforms: Platforms,
}

/// A further login of a machine type, `<user>-<type>--<name>`.
///
/// Its secret is given as that of the type's own login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredLogin {
    /// What tells it apart: `[a-z0-9]+([._-][a-z0-9]+)*`.
    pub name: String,
    /// What hosts log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// The file that holds what hosts log in with, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// SHA-256 of what hosts log in with, in lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub secret_sha256: Option<Secret>,
    /// Whether hosts may add features after `+` in the login's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_selectors: bool,
}

/// A registry that MetaHub pulls from.
///
/// A secret that is left out stays what it is, as long as what it belongs to
/// stays: a password its user name and the upstream's addresses, a key its
/// certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUpstream {
    /// The name that clients use, for example `ghcr.io`.
    pub name: String,
    /// Where it is, for example `https://ghcr.io`.
    pub url: String,
    /// Whether names without a host go to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// The account to pull with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The account's password or token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub password: Option<Secret>,
    /// The file that holds the account's password or token, relative to this
    /// one.
    #[serde(
        default,
        alias = "credential_file",
        skip_serializing_if = "Option::is_none"
    )]
    pub password_file: Option<PathBuf>,
    /// Whether only users with a grant may pull from it. One with an account is
    /// restricted in any case.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restricted: bool,
    /// Whether its certificate is not verified, and its account may go over
    /// plain http.
    #[serde(default, skip_serializing_if = "is_default")]
    pub insecure: bool,
    /// Certificates of authorities that are trusted for it, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The file that holds them, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How blobs get to clients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub blobs: Blobs,
    /// Other names for it: a worker that is reached by one of them takes names
    /// without a host for this upstream's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether HTTP/1.1 alone is spoken to it, also where it offers HTTP/2.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http1: bool,
    /// Further addresses of the same registry, tried in this order when `url`
    /// fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_urls: Vec<String>,
    /// The HTTP proxy to reach it through, for example
    /// `http://user@proxy.example:3128`; `none`: no proxy. Default: what the
    /// worker's environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The password of the proxy's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub proxy_password: Option<Secret>,
    /// The file that holds the password of the proxy's user, relative to this
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_password_file: Option<PathBuf>,
    /// The prefix of each repository's name at the registry, for
    /// example `dockerhub-proxy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_prefix: Option<String>,
    /// Hosts with an optional port, beside the registry's own, whose token
    /// servers may see the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_hosts: Vec<String>,
    /// The certificate, with its chain, that workers present to it, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_pem: Option<String>,
    /// The file that holds it, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub client_key_pem: Option<Secret>,
    /// The file that holds it, relative to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key_file: Option<PathBuf>,
}

/// What an admin knows about variants that their author did not label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredRule {
    /// Its name. Rules apply in the order of their names.
    pub name: String,
    /// Repositories that it is about, with or without an upstream's name in
    /// front; `*` stands for any text within one path component, `**` for any
    /// text. Default: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// Tags that it is about, with `*` for any text. Default: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// Entries that it is about. Default: all.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: DeclaredMatch,
    /// What a host needs for these entries, for example `cpu:x86_64_v3`.
    pub requires: Vec<String>,
}

/// Which entries a rule is about. An empty text matches entries that lack the
/// field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredMatch {
    /// The platform's os.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The platform's architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The platform's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The platform's os.version.
    #[serde(
        default,
        rename = "os.version",
        alias = "os_version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// The entry's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A variant that is chosen for a machine type and repositories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPin {
    /// The user that owns the machine type.
    pub user: String,
    /// The machine type's name.
    #[serde(rename = "type")]
    pub machine_type: String,
    /// The repositories, as in a rule.
    pub repository: String,
    /// The chosen entry.
    pub digest: String,
}

/// Restricted repositories that are open to a user, or to all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredGrant {
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it is for every user.
    #[serde(default, skip_serializing_if = "is_default")]
    pub all_users: bool,
    /// The repositories, with their upstream in front.
    pub repository: String,
}

/// A CPU name beyond the built-in table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredCpu {
    /// Lower case with underscores, for example `futurelake`.
    pub name: String,
    /// What it can run besides its own builds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// The CPU flags that are new with it over its parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Other names for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// Whether all that a declaration may state is what it was at `then`. Not when
/// that is not known.
fn is_unchanged(policy: &Policy, then: Revision) -> bool {
    let changed = policy.changed_since(then);
    changed.is_some_and(|keys| keys.iter().all(|key| !DECLARED.contains(&key.kind())))
}

/// What an export leaves out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
