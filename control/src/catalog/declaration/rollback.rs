//! Makes the policy again what it was at an earlier revision.
//!
//! It is computed from the audit: what a record was before its first change
//! after that revision, it is to be again. Secrets are not in the audit and are
//! not rolled back: what was revoked stays revoked, what was replaced stays
//! replaced, and what cannot come back is said.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{DECLARED, Mode, Outcome, is_unchanged};
use crate::{
    Error, Result, Revision, StoreError,
    access::Scope,
    audit::AuditRecord,
    catalog::{Actor, AuditStart, Catalog, edit::Edit, upstreams},
    records::{Key, Login, Record, Upstream, User},
};

/// How often a rollback is computed anew, when others change the policy.
const TRIES: usize = 5;

/// What the policy said, where it differs from what it says.
#[derive(Debug)]
struct Past {
    /// Without secrets. `None`: there was no such record.
    records: BTreeMap<Key, Option<Record>>,
    /// Up to which revision changes are taken back.
    seen: Revision,
}

impl Catalog {
    /// Makes the policy what it said at revision `number`, as a new revision.
    /// Refuses when the audit does not reach back that far, and when the policy
    /// has changed since `agreed`.
    pub(crate) async fn rollback(
        &self,
        actor: &Actor,
        number: u64,
        agreed: Option<Revision>,
    ) -> Result<Outcome> {
        for _ in 0..TRIES {
            let past = self.past(number).await?;
            let planned = |edit: &mut Edit| {
                // Nothing may have changed since the past was read.
                if !is_unchanged(edit.base(), past.seen) {
                    return Ok(None);
                }
                Mode::apply(false)
                    .unchanged_since(agreed)
                    .check(edit.base())?;
                let warnings = restore(edit, &past);
                Ok(Some((edit.changes()?, warnings)))
            };
            if let Some((changes, warnings)) = self.edit(actor, "policy.rollback", planned).await? {
                return Ok(Outcome {
                    revision: self.revision(),
                    changes,
                    new_logins: Vec::new(),
                    warnings,
                });
            }
        }
        Err(Error::Blocked {
            reason: "others change the policy all the time: try again".into(),
        })
    }

    /// What [`Catalog::rollback`] would change now.
    pub(crate) async fn preview_rollback(&self, number: u64) -> Result<Outcome> {
        let past = self.past(number).await?;
        let mut edit = Edit::new(self.policy(), Scope::All);
        let warnings = restore(&mut edit, &past);
        Ok(Outcome {
            revision: past.seen,
            changes: edit.changes()?,
            new_logins: Vec::new(),
            warnings,
        })
    }

    async fn past(&self, number: u64) -> Result<Past> {
        let seen = self.revision();
        if number > seen.number {
            let reason = format!("{number} is not there yet: the newest is {}", seen.number);
            return Err(Error::invalid("revision", reason));
        }
        let mut after = self.audit_from(AuditStart::After(number)).await?;
        let mut records = BTreeMap::new();
        while after < seen.number {
            let page = self.audit(after).await?;
            let Some(last) = page.last() else { break };
            after = last.revision;
            let newest = |record: &&AuditRecord| is_until(record, seen.number);
            for change in page.iter().filter(newest).flat_map(|it| &it.changes) {
                if !DECLARED.contains(&change.key.kind()) || change.key.is_made_by_hosts() {
                    continue;
                }
                if let Entry::Vacant(place) = records.entry(change.key.clone()) {
                    let before = change.before.as_deref();
                    let before = before.map(|json| Record::from_json(change.key.kind(), json));
                    place.insert(before.transpose().map_err(unreadable(&change.key))?);
                }
            }
        }
        Ok(Past { records, seen })
    }
}

fn is_until(record: &AuditRecord, number: u64) -> bool {
    record.revision <= number
}

fn unreadable(key: &Key) -> impl Fn(serde_json::Error) -> Error {
    let key = key.as_str().to_owned();
    move |source| {
        let key = key.clone();
        StoreError::Record { key, source }.into()
    }
}

/// Plans the change. Returns what does not come back, and what to do about it.
fn restore(edit: &mut Edit, past: &Past) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, record) in &past.records {
        let restored = record.clone().and_then(|mut record| {
            let warning = take_secret(edit, &mut record);
            let comes_back = !matches!((&record, &warning), (Record::Login(_), Some(_)));
            warnings.extend(warning);
            comes_back.then_some(record)
        });
        match restored {
            Some(record) => edit.put(record),
            None => edit.remove(key.clone()),
        }
    }
    warnings
}

/// Gives a record from the audit the secret that its newest has. Returns what
/// to do when there is none.
fn take_secret(edit: &Edit, record: &mut Record) -> Option<String> {
    match record {
        Record::User(user) => {
            let known: Option<&User> = edit.base().find(&Key::user(&user.name));
            let had_password = user.password_hash.is_some();
            user.password_hash = known.and_then(|it| it.password_hash.clone());
            (had_password && user.password_hash.is_none()).then(|| {
                format!(
                    "the user `{}` comes back without a password: declare a new one with `apply`",
                    user.name
                )
            })
        }
        Record::Login(login) => match edit.base().find::<Login>(&Key::login(&login.name())) {
            Some(known) => {
                login.secret_sha256 = known.secret_sha256.clone();
                None
            }
            None => {
                let label = login.label.as_ref();
                let label = label.map_or(String::new(), |it| format!(" --name {it}"));
                Some(format!(
                    "the login `{}` does not come back, since its secret was revoked: `metahubctl login create {} --user {}{label}` makes one with a new secret",
                    login.name(),
                    login.machine_type,
                    login.user
                ))
            }
        },
        Record::Upstream(upstream) => upstream_secrets(edit, upstream),
        _ => None,
    }
}

/// What has lost its secret does not come back. An upstream that lost its
/// account is not opened to all for that.
fn upstream_secrets(edit: &Edit, upstream: &mut Upstream) -> Option<String> {
    let lost = upstreams::take_known_secrets(edit, upstream);
    if lost.is_empty() {
        return None;
    }
    let mut flags = String::new();
    for field in lost {
        flags += &match field {
            "password" => {
                upstream.restricted = true;
                let username = upstream.account.take().map(|it| it.username);
                format!(
                    " --username {} --password-file FILE",
                    username.unwrap_or_default()
                )
            }
            "proxy_password" => {
                let url = upstream.proxy.take().map(|it| it.url);
                format!(
                    " --proxy {} --proxy-password-file FILE",
                    url.unwrap_or_default()
                )
            }
            _ => {
                upstream.client_certificate = None;
                " --client-cert FILE --client-key FILE".to_owned()
            }
        };
    }
    let restricted = match upstream.restricted {
        true => ", and restricted",
        false => "",
    };
    Some(format!(
        "the upstream `{}` comes back without what needs a secret{restricted}: give it again with `metahubctl upstream create {} --url {}{flags}`",
        upstream.name, upstream.name, upstream.url
    ))
}
