//! The whole policy as one file says it: the static mode.

use std::collections::BTreeMap;

use metahub_policy::{Cpu, CpuTable, Grant, Rule};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::{Actor, Catalog, cpus, edit::Edit, grants, machine_types, rules, upstreams, users};
use crate::{
    Error, Result, Revision, Secret, names,
    policy::Policy,
    records::{Account, Blobs, Key, Kind, Login, MachineType, Pin, Record, Upstream, User},
    secrets,
};

/// Everything that is to be, as a file says it. What it does not name is not.
///
/// Recipes are not part of it: workers make them. Without any upstream it
/// means Docker Hub.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The users, with their machine types.
    #[serde(default)]
    pub users: Vec<DeclaredUser>,
    /// The upstreams. None: `docker.io`, as the default.
    #[serde(default)]
    pub upstreams: Vec<DeclaredUpstream>,
    /// The rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The pins.
    #[serde(default)]
    pub pins: Vec<DeclaredPin>,
    /// Who may pull from restricted upstreams.
    #[serde(default)]
    pub grants: Vec<DeclaredGrant>,
    /// CPU names beyond the built-in table.
    #[serde(default)]
    pub cpus: Vec<Cpu>,
}

/// A user, as a file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUser {
    /// Its name: `[a-z0-9]+([._][a-z0-9]+)*`.
    pub name: String,
    /// Its password. `None`: it cannot log in with one.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Its machine types.
    #[serde(default)]
    pub types: Vec<DeclaredType>,
}

/// A machine type and its login, as a file says them.
///
/// Either `secret` or `secret_sha256` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredType {
    /// Its name: `[a-z0-9]+([._-][a-z0-9]+)*`.
    pub name: String,
    /// What hosts log in with.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// SHA-256 of what hosts log in with, in hex.
    #[serde(default)]
    pub secret_sha256: Option<Secret>,
    /// Whether hosts may add features after `+` in the login's name.
    #[serde(default)]
    pub allow_selectors: bool,
    /// What kind of host it is.
    #[serde(flatten)]
    pub spec: metahub_policy::MachineType,
}

/// An upstream, as a file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredUpstream {
    /// The name that clients use, for example `ghcr.io`.
    pub name: String,
    /// Where it is, for example `https://ghcr.io`.
    pub url: String,
    /// Whether names without a host go to it.
    #[serde(default)]
    pub default: bool,
    /// The account to pull with.
    #[serde(default)]
    pub username: Option<String>,
    /// The account's password or token.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Whether only users with a grant may pull from it. One with an account is
    /// restricted in any case.
    #[serde(default)]
    pub restricted: bool,
    /// Whether its certificate is not verified, and its account may go over
    /// plain http.
    #[serde(default)]
    pub insecure: bool,
    /// Certificates of authorities that are trusted for it, as PEM.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// How blobs get to clients: `proxy` or `redirect`.
    #[serde(default)]
    pub blobs: Blobs,
    /// Other names for it: a worker that is reached by one of them takes names
    /// without a host for this upstream's.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// A grant, as a file says it: for a user, or for all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredGrant {
    /// The user.
    #[serde(default)]
    pub user: Option<String>,
    /// Whether it is for every user.
    #[serde(default)]
    pub all_users: bool,
    /// The repositories, with their upstream in front.
    pub repository: String,
}

/// A pin, as a file says it.
#[derive(Clone, Debug, Deserialize)]
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

/// What a declaration asks for, checked.
type Wanted = BTreeMap<Key, Record>;

impl Catalog {
    /// Makes the policy equal to the declaration in one commit.
    ///
    /// Returns the revision that holds it. An equal policy stays as it is, at
    /// its revision. On an error, which names the field, nothing changes.
    pub async fn apply(&self, declaration: Declaration) -> Result<Revision> {
        let policy = self.policy();
        let checking = spawn_blocking(move || wanted(declaration, &policy));
        let wanted = checking.await.map_err(|_| Error::Stopping)??;
        let actor = Actor::on_its_own("file");
        self.edit(&actor, "policy.apply", |edit| {
            replace_all(edit, &wanted);
            Ok(())
        })
        .await?;
        Ok(self.revision())
    }
}

fn replace_all(edit: &mut Edit, wanted: &Wanted) {
    let declared = Kind::ALL.into_iter().filter(|kind| !kind.is_made_here());
    let gone: Vec<Key> = declared
        .flat_map(|kind| edit.base().of_kind(kind))
        .map(|(key, _)| key.clone())
        .filter(|key| !wanted.contains_key(key))
        .collect();
    gone.into_iter().for_each(|key| edit.remove(key));
    wanted.values().for_each(|record| edit.put(record.clone()));
}

/// Checks the declaration. `policy` is asked for password hashes only: they are
/// salted, so one that still matches is kept rather than made anew.
fn wanted(declaration: Declaration, policy: &Policy) -> Result<Wanted> {
    let mut wanted = Wanted::new();
    let table = cpus::table(declaration.cpus.iter())?;
    add_all(&mut wanted, "cpus", declaration.cpus, Ok)?;
    for (i, user) in declaration.users.into_iter().enumerate() {
        let place = format!("users[{i}]");
        let records = user_records(user, &table, policy).map_err(|error| error.within(&place))?;
        for record in records {
            add(&mut wanted, record).map_err(|error| error.within(&place))?;
        }
    }
    add_all(&mut wanted, "upstreams", declaration.upstreams, upstream)?;
    one_default(&mut wanted)?;
    one_upstream_a_name(&wanted)?;
    add_all(&mut wanted, "rules", declaration.rules, |rule| {
        rules::check_rule(&rule)?;
        Ok(rule)
    })?;
    add_pins(&mut wanted, declaration.pins)?;
    let users = keys_of(&wanted, Kind::User);
    add_all(&mut wanted, "grants", declaration.grants, |declared| {
        grant(declared, &users)
    })?;
    Ok(wanted)
}

fn add_all<T, R: Into<Record>>(
    wanted: &mut Wanted,
    field: &str,
    declared: Vec<T>,
    record: impl Fn(T) -> Result<R>,
) -> Result<()> {
    for (i, declared) in declared.into_iter().enumerate() {
        record(declared)
            .and_then(|record| add(wanted, record.into()))
            .map_err(|error| error.within(format!("{field}[{i}]")))?;
    }
    Ok(())
}

fn add(wanted: &mut Wanted, record: Record) -> Result<()> {
    let key = record.key();
    let twice = format!("the {} `{}` is there twice", key.kind().word(), key.name());
    match wanted.insert(key, record) {
        Some(_) => Err(Error::invalid("name", twice)),
        None => Ok(()),
    }
}

fn user_records(user: DeclaredUser, cpus: &CpuTable, policy: &Policy) -> Result<Vec<Record>> {
    names::check_user("name", &user.name)?;
    let password_hash = match &user.password {
        Some(password) => Some(password_hash(&user.name, password, policy)?),
        None => None,
    };
    let mut records = Vec::new();
    for (i, declared) in user.types.into_iter().enumerate() {
        let (machine_type, login) = type_records(&user.name, declared, cpus)
            .map_err(|error| error.within(format!("types[{i}]")))?;
        records.push(machine_type.into());
        records.push(login.into());
    }
    records.push(Record::User(User {
        name: user.name,
        password_hash,
    }));
    Ok(records)
}

fn password_hash(user: &str, password: &Secret, policy: &Policy) -> Result<Secret> {
    users::check_password(password)?;
    let kept = policy
        .find::<User>(&Key::user(user))
        .and_then(|user| user.password_hash.clone())
        .filter(|hash| secrets::password_matches(password, hash));
    kept.map_or_else(|| secrets::hash_password(password), Ok)
}

fn type_records(
    user: &str,
    declared: DeclaredType,
    cpus: &CpuTable,
) -> Result<(MachineType, Login)> {
    let secret_sha256 = login_hash(&declared)?;
    let machine_type = MachineType {
        user: user.to_owned(),
        name: declared.name,
        spec: declared.spec,
    };
    for warning in machine_types::check_type(&machine_type, cpus)? {
        tracing::warn!("machine type {} of {user}: {warning}", machine_type.name);
    }
    let login = Login {
        user: user.to_owned(),
        machine_type: machine_type.name.clone(),
        secret_sha256,
        allow_selectors: declared.allow_selectors,
    };
    Ok((machine_type, login))
}

fn login_hash(declared: &DeclaredType) -> Result<Secret> {
    match (&declared.secret, &declared.secret_sha256) {
        (Some(secret), None) if !secret.expose().is_empty() => Ok(secrets::sha256_hex(secret)),
        (None, Some(hash)) if names::is_lower_hex(hash.expose(), 64) => Ok(hash.clone()),
        (None, Some(_)) => Err(Error::invalid(
            "secret_sha256",
            "is not 64 lower-case hex digits",
        )),
        _ => Err(Error::invalid(
            "secret",
            "give either `secret`, not empty, or `secret_sha256`",
        )),
    }
}

fn upstream(declared: DeclaredUpstream) -> Result<Upstream> {
    let account = match (declared.username, declared.password) {
        (None, None) => None,
        (Some(username), Some(password)) => Some(Account { username, password }),
        _ => {
            return Err(Error::invalid(
                "username",
                "and `password` go together: give both or none",
            ));
        }
    };
    upstreams::checked(Upstream {
        name: declared.name,
        url: declared.url,
        is_default: declared.default,
        account,
        restricted: declared.restricted,
        insecure: declared.insecure,
        ca_pem: declared.ca_pem,
        blobs: declared.blobs,
        hosts: declared.hosts,
    })
}

fn grant(declared: DeclaredGrant, users: &[Key]) -> Result<Grant> {
    match &declared.user {
        Some(user) if declared.all_users || users.binary_search(&Key::user(user)).is_err() => {
            let reason = "is not in this file, or there is `all_users` besides";
            return Err(Error::invalid("user", reason));
        }
        None if !declared.all_users => {
            let reason = "is missing: give it, or `all_users: true`";
            return Err(Error::invalid("user", reason));
        }
        _ => {}
    }
    let grant = Grant {
        user: declared.user,
        repository: declared.repository,
    };
    grants::check_grant(&grant)?;
    Ok(grant)
}

/// The keys of a kind, in order.
fn keys_of(wanted: &Wanted, kind: Kind) -> Vec<Key> {
    let keys = wanted.keys().filter(|key| key.kind() == kind);
    keys.cloned().collect()
}

fn one_default(wanted: &mut Wanted) -> Result<()> {
    let is_default = |record: &Record| matches!(record, Record::Upstream(it) if it.is_default);
    let is_upstream = |record: &Record| matches!(record, Record::Upstream(_));
    if !wanted.values().any(is_upstream) {
        return add(wanted, upstreams::docker_hub().into());
    }
    match wanted.values().filter(|it| is_default(it)).count() {
        0 | 1 => Ok(()),
        _ => Err(Error::invalid(
            "upstreams",
            "more than one is the default: leave `default` on one",
        )),
    }
}

fn one_upstream_a_name(wanted: &Wanted) -> Result<()> {
    let all = || {
        wanted.values().filter_map(|record| match record {
            Record::Upstream(upstream) => Some(upstream),
            _ => None,
        })
    };
    all().try_for_each(|upstream| {
        upstreams::check_other_names(upstream, all())
            .map_err(|error| error.within(format!("upstreams.{}", upstream.name)))
    })
}

fn add_pins(wanted: &mut Wanted, pins: Vec<DeclaredPin>) -> Result<()> {
    let types = keys_of(wanted, Kind::MachineType);
    add_all(wanted, "pins", pins, |declared| {
        let pin = Pin {
            user: declared.user,
            machine_type: declared.machine_type,
            repository: declared.repository,
            digest: declared.digest,
        };
        rules::check_pin(&pin)?;
        let machine_type = Key::machine_type(&pin.user, &pin.machine_type);
        match types.binary_search(&machine_type) {
            Ok(_) => Ok(pin),
            Err(_) => Err(Error::invalid(
                "type",
                format!(
                    "there is no machine type `{}` in this file",
                    machine_type.name()
                ),
            )),
        }
    })
}

#[cfg(test)]
mod tests;
