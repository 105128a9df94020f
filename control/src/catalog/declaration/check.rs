//! Checks a declaration by itself, and makes records of it.
//!
//! What depends on the policy that it meets is checked by the plan.

use std::{collections::BTreeMap, path::PathBuf};

use metahub_policy::{Cpu, CpuTable, Grant, InvalidCpu, InvalidMachineType, Rule};

use super::{
    Declaration, DeclaredGrant, DeclaredLogin, DeclaredPin, DeclaredRule, DeclaredType,
    DeclaredUpstream, DeclaredUser, Mode, form,
};
use crate::{
    Error, Result, Secret,
    catalog::{cpus, grants, rules, upstreams, users},
    names,
    policy::Policy,
    records::{
        Account, ClientCertificate, Key, Kind, Login, MachineType, Pin, Proxy, Record, Upstream,
        User, login_name,
    },
    secrets,
};

/// A declaration that is right by itself.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// By key, so that each is there once.
    pub(super) drafts: BTreeMap<Key, Draft>,
    /// The logins that types are declared to be without.
    pub(super) without_login: Vec<Key>,
    /// What may be a mistake, with its place in front.
    pub(super) warnings: Vec<String>,
}

/// A record as it is to be.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where it is declared, for example `users[0].types[3]`.
    pub(super) place: String,
    pub(super) record: Record,
    pub(super) secret: Secrecy,
}

/// Where the secret of a record comes from.
#[derive(Debug)]
pub(super) enum Secrecy {
    /// The declaration gives it, or the record has none.
    Given,
    /// The declaration gives it, for a record that has none so far.
    GivenToNew,
    /// It stays as it is. For a login that is new, this one was made.
    Kept(Option<Secret>),
}

/// What is asked while checking.
struct Check<'a> {
    checked: Checked,
    table: CpuTable,
    policy: &'a Policy,
    mode: Mode,
}

/// Checks the declaration. `policy` is asked for password hashes and CPU names
/// only. Takes long where there are passwords: call it where blocking is
/// allowed.
pub(super) fn check(declaration: Declaration, policy: &Policy, mode: Mode) -> Result<Checked> {
    let declared_cpus: Vec<Cpu> = declaration.cpus.into_iter().map(form::cpu).collect();
    let mut check = Check {
        checked: Checked::default(),
        table: cpu_table(policy, &declared_cpus, mode)?,
        policy,
        mode,
    };
    check.add_all("cpus", declared_cpus, |_, cpu| {
        if policy.find::<Cpu>(&Key::cpu(&cpu.name)).is_none() {
            cpus::check_new(&cpu)?;
        }
        Ok(cpu)
    })?;
    for (i, user) in declaration.users.into_iter().enumerate() {
        check.user(&format!("users[{i}]"), user)?;
    }
    check.upstreams(declaration.upstreams)?;
    check.add_all("rules", declaration.rules, |_, declared| rule(declared))?;
    check.add_all("pins", declaration.pins, |_, declared| pin(declared))?;
    check.add_all("grants", declaration.grants, |_, declared| grant(declared))?;
    Ok(check.checked)
}

impl Check<'_> {
    fn add_all<T, R: Into<Record>>(
        &mut self,
        field: &str,
        declared: Vec<T>,
        record: impl Fn(&Self, T) -> Result<R>,
    ) -> Result<()> {
        for (i, declared) in declared.into_iter().enumerate() {
            let place = format!("{field}[{i}]");
            let record = record(self, declared).map_err(|error| error.within(&place))?;
            self.add(&place, record, Secrecy::Given)?;
        }
        Ok(())
    }

    fn add(&mut self, place: &str, record: impl Into<Record>, secret: Secrecy) -> Result<()> {
        let record = record.into();
        let key = record.key();
        let draft = Draft {
            place: place.to_owned(),
            record,
            secret,
        };
        let (kind, name) = (key.kind(), key.name().to_owned());
        let Some(first) = self.checked.drafts.insert(key, draft) else {
            return Ok(());
        };
        let field = match kind {
            Kind::Pin | Kind::Grant => "repository",
            _ => "name",
        };
        let reason = format!(
            "the {} `{name}` is there twice: it is {} already",
            kind.word(),
            first.place
        );
        Err(Error::invalid(field, reason).within(place))
    }

    fn user(&mut self, place: &str, declared: DeclaredUser) -> Result<()> {
        let within = |error: Error| error.within(place);
        names::check_user("name", &declared.name).map_err(within)?;
        let (password_hash, secret) = self.password(&declared).map_err(within)?;
        let user = User {
            name: declared.name.clone(),
            password_hash,
        };
        self.add(place, user, secret)?;
        for (i, machine_type) in declared.types.into_iter().enumerate() {
            self.machine_type(&format!("{place}.types[{i}]"), &declared.name, machine_type)?;
        }
        Ok(())
    }

    fn password(&self, declared: &DeclaredUser) -> Result<(Option<Secret>, Secrecy)> {
        unread("password_file", declared.password_file.as_ref())?;
        let known = self.policy.find::<User>(&Key::user(&declared.name));
        let known = known.and_then(|user| user.password_hash.clone());
        let hash = match (&declared.password, &declared.password_hash) {
            (None, None) if self.mode.secrets.are_kept() => return Ok((None, Secrecy::Kept(None))),
            (None, None) => None,
            (Some(password), None) => {
                users::check_password(password)?;
                not_empty("password", password)?;
                match known {
                    Some(hash) if !self.mode.secrets.are_compared() => Some(hash),
                    known => Some(password_hash(password, known)?),
                }
            }
            (None, Some(hash)) if secrets::is_password_hash(hash) => match known {
                Some(known) if !self.mode.secrets.are_compared() => Some(known),
                _ => Some(hash.clone()),
            },
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "password_hash",
                    "is no argon2 hash: it starts with `$argon2`, as `export --with-secrets` writes it",
                ));
            }
            (Some(_), Some(_)) => return Err(only_one("password", "password_hash")),
        };
        Ok((hash, Secrecy::Given))
    }

    fn machine_type(&mut self, place: &str, user: &str, declared: DeclaredType) -> Result<()> {
        let within = |error: Error| error.within(place);
        names::check_type("name", &declared.name).map_err(within)?;
        let login = self.login(user, &declared, None).map_err(within)?;
        for (i, further) in declared.logins.iter().enumerate() {
            let place = format!("{place}.logins[{i}]");
            let within = |error: Error| error.within(&place);
            names::check_type("name", &further.name).map_err(within)?;
            let login = self.login(user, &declared, Some(further)).map_err(within)?;
            if let Some((login, secret)) = login {
                self.add(&place, login, secret)?;
            }
        }
        let machine_type = MachineType {
            user: user.to_owned(),
            name: declared.name.clone(),
            spec: form::spec(declared),
        };
        let checked = machine_type.spec.check(&self.table);
        let warnings = checked.map_err(|error| {
            let field = field_of(&error, &machine_type.spec);
            Error::invalid(field, error.to_string()).within(place)
        })?;
        let warnings = warnings.into_iter().map(|it| format!("{place}: {it}"));
        self.checked.warnings.extend(warnings);
        match login {
            Some((login, secret)) => self.add(place, login, secret)?,
            None => {
                let name = login_name(user, &machine_type.name);
                self.checked.without_login.push(Key::login(&name));
            }
        }
        self.add(place, machine_type, Secrecy::Given)
    }

    /// The login of a type, or a further one. `None`: it is declared to have none.
    fn login(
        &self,
        user: &str,
        declared: &DeclaredType,
        further: Option<&DeclaredLogin>,
    ) -> Result<Option<(Login, Secrecy)>> {
        let given = match further {
            Some(further) => further.clone(),
            None => DeclaredLogin {
                name: String::new(),
                secret: declared.secret.clone(),
                secret_file: declared.secret_file.clone(),
                secret_sha256: declared.secret_sha256.clone(),
                allow_selectors: declared.allow_selectors,
            },
        };
        if further.is_none() && declared.without_login {
            let is_given = given.secret.is_some() || given.secret_sha256.is_some();
            unread("secret_file", given.secret_file.as_ref())?;
            return match is_given {
                true => Err(only_one("without_login", "a secret")),
                false => Ok(None),
            };
        }
        let (secret_sha256, secrecy) = self.secret(&given)?;
        let login = Login {
            user: user.to_owned(),
            machine_type: declared.name.clone(),
            secret_sha256,
            allow_selectors: given.allow_selectors,
            label: further.map(|it| it.name.clone()),
            host: None,
        };
        Ok(Some((login, secrecy)))
    }

    fn secret(&self, declared: &DeclaredLogin) -> Result<(Secret, Secrecy)> {
        unread("secret_file", declared.secret_file.as_ref())?;
        match (&declared.secret, &declared.secret_sha256) {
            (Some(secret), None) => {
                not_empty("secret", secret)?;
                Ok((secrets::sha256_hex(secret), self.mode.secrets.given()))
            }
            (None, Some(hash)) if names::is_lower_hex(hash.expose(), 64) => {
                Ok((hash.clone(), self.mode.secrets.given()))
            }
            (None, None) if self.mode.secrets.are_kept() => {
                let made = secrets::generate();
                Ok((secrets::sha256_hex(&made), Secrecy::Kept(Some(made))))
            }
            (None, Some(_)) => Err(Error::invalid(
                "secret_sha256",
                "is not 64 lower-case hex digits",
            )),
            (None, None) => Err(Error::invalid(
                "secret",
                "is missing: give it, `secret_file`, `secret_sha256` or `without_login: true`",
            )),
            (Some(_), Some(_)) => Err(only_one("secret", "secret_sha256")),
        }
    }

    fn upstreams(&mut self, declared: Option<Vec<DeclaredUpstream>>) -> Result<()> {
        let declared = match declared {
            Some(declared) => declared,
            None if self.mode.prunes => {
                return self.add("upstreams", upstreams::docker_hub(), Secrecy::Given);
            }
            None => return Ok(()),
        };
        let mut default = None;
        for (i, declared) in declared.into_iter().enumerate() {
            let place = format!("upstreams[{i}]");
            let made = upstream(declared, self.mode).map_err(|error| error.within(&place));
            let (upstream, secret) = made?;
            if upstream.is_default
                && let Some(first) = default.replace(upstream.name.clone())
            {
                let reason = format!("`{first}` is the default already: leave one");
                return Err(Error::invalid("default", reason).within(&place));
            }
            self.add(&place, upstream, secret)?;
        }
        Ok(())
    }
}

/// The known hash, when it is one of the password: hashes are salted, and one
/// made anew would be a change.
fn password_hash(password: &Secret, known: Option<Secret>) -> Result<Secret> {
    let known = known.filter(|hash| secrets::password_matches(password, hash));
    known.map_or_else(|| secrets::hash_password(password), Ok)
}

/// The built-in table with the names that there will be.
fn cpu_table(policy: &Policy, declared: &[Cpu], mode: Mode) -> Result<CpuTable> {
    let stays = |cpu: &&Cpu| !mode.prunes && declared.iter().all(|it| it.name != cpu.name);
    let mut site: Vec<Cpu> = policy.all::<Cpu>().filter(stays).cloned().collect();
    site.extend_from_slice(declared);
    CpuTable::with_site(&site).map_err(|error| {
        let (InvalidCpu::UnknownParent { name, .. }
        | InvalidCpu::Cycle { name }
        | InvalidCpu::Duplicate { name, .. }
        | InvalidCpu::Word { name, .. }) = &error
        else {
            return Error::invalid("cpus", error.to_string());
        };
        let place = declared.iter().rposition(|cpu| cpu.name == *name);
        match place {
            Some(i) => Error::invalid(format!("cpus[{i}]"), error.to_string()),
            None => Error::invalid("cpus", error.to_string()),
        }
    })
}

/// Which field the error is about.
fn field_of(error: &InvalidMachineType, spec: &metahub_policy::MachineType) -> String {
    match error {
        InvalidMachineType::Feature { feature, .. } => {
            match spec.features.iter().position(|it| it == feature) {
                Some(i) => format!("features[{i}]"),
                None => "features".into(),
            }
        }
        InvalidMachineType::Field { field, .. } | InvalidMachineType::TooMany { field, .. } => {
            (*field).to_owned()
        }
        _ => "features".into(),
    }
}

/// Only metahubctl reads the files that a declaration names.
fn unread(field: &str, path: Option<&PathBuf>) -> Result<()> {
    match path {
        None => Ok(()),
        Some(_) => Err(Error::invalid(
            field,
            "is not here to be read: metahubctl reads it, and gives what it holds",
        )),
    }
}

fn not_empty(field: &str, secret: &Secret) -> Result<()> {
    match secret.expose() {
        "" => Err(Error::invalid(field, "is empty: leave it out, or give one")),
        _ => Ok(()),
    }
}

fn only_one(one: &str, other: &str) -> Error {
    Error::invalid(one, format!("is given, and so is {other}: leave one"))
}

fn upstream(declared: DeclaredUpstream, mode: Mode) -> Result<(Upstream, Secrecy)> {
    for (field, file) in [
        ("password_file", &declared.password_file),
        ("ca_file", &declared.ca_file),
        ("proxy_password_file", &declared.proxy_password_file),
        ("client_cert_file", &declared.client_cert_file),
        ("client_key_file", &declared.client_key_file),
    ] {
        unread(field, file.as_ref())?;
    }
    let account = owned(
        ("username", declared.username),
        ("password", declared.password),
    )?;
    let client = owned(
        ("client_cert_pem", declared.client_cert_pem),
        ("client_key_pem", declared.client_key_pem),
    )?;
    if let (None, Some(_)) = (&declared.proxy, &declared.proxy_password) {
        let reason = "is missing, but there is its password: give both or none";
        return Err(Error::invalid("proxy", reason));
    }
    let password = declared.proxy_password;
    let mut upstream = upstreams::checked(Upstream {
        name: declared.name,
        url: declared.url,
        is_default: declared.default,
        account: account.map(|(username, password)| Account { username, password }),
        restricted: declared.restricted,
        insecure: declared.insecure,
        ca_pem: declared.ca_pem,
        blobs: declared.blobs,
        hosts: declared.hosts,
        http1: declared.http1,
        fallback_urls: declared.fallback_urls,
        proxy: declared.proxy.map(|url| Proxy::new(url, password)),
        repository_prefix: declared.repository_prefix,
        token_hosts: declared.token_hosts,
        client_certificate: client
            .map(|(cert_pem, key_pem)| ClientCertificate { cert_pem, key_pem }),
    })?;
    let secret = match upstreams::missing_secret(&mut upstream) {
        None => mode.secrets.given(),
        Some(_) if mode.secrets.are_kept() => Secrecy::Kept(None),
        Some(missing) => return Err(missing),
    };
    Ok((upstream, secret))
}

/// What needs a secret, with that, which is empty where it is left out.
fn owned(
    (field, owner): (&str, Option<String>),
    (secret_field, secret): (&str, Option<Secret>),
) -> Result<Option<(String, Secret)>> {
    if let Some(secret) = &secret {
        not_empty(secret_field, secret)?;
    }
    match (owner, secret) {
        (None, Some(_)) => Err(Error::invalid(
            field,
            format!("is missing, but there is a {secret_field}: give both or none"),
        )),
        (owner, secret) => {
            let secret = secret.unwrap_or_else(|| Secret::from(String::new()));
            Ok(owner.map(|owner| (owner, secret)))
        }
    }
}

fn rule(declared: DeclaredRule) -> Result<Rule> {
    let rule = form::rule(declared);
    rules::check_rule(&rule)?;
    Ok(rule)
}

fn pin(declared: DeclaredPin) -> Result<Pin> {
    let pin = form::pin(declared);
    rules::check_pin(&pin)?;
    Ok(pin)
}

fn grant(declared: DeclaredGrant) -> Result<Grant> {
    if declared.user.is_some() == declared.all_users {
        let reason = "give it, or `all_users: true`, and not both";
        return Err(Error::invalid("user", reason));
    }
    let grant = form::grant(declared);
    grants::check_grant(&grant)?;
    Ok(grant)
}
