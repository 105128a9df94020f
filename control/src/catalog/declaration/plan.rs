//! What a declaration changes in the policy that it meets.

use metahub_policy::{Cpu, Grant};

use super::{
    DECLARED, Mode,
    check::{Checked, Draft, Secrecy},
};
use crate::{
    Error, Result,
    catalog::{NewLogin, cpus, edit::Edit, upstreams},
    records::{Kept, Key, Login, MachineType, Record, User},
};

/// Plans the change. Returns the logins that get a secret of MetaHub's making.
pub(super) fn plan(edit: &mut Edit, checked: &Checked, mode: Mode) -> Result<Vec<NewLogin>> {
    if mode.prunes {
        prune(edit, checked);
    } else if has_default(checked) {
        upstreams::unset_default(edit);
    }
    for key in &checked.without_login {
        edit.remove(key.clone());
    }
    let mut new_logins = Vec::new();
    for (key, draft) in &checked.drafts {
        let record = resolved(edit, key, draft, &mut new_logins);
        edit.put(record.map_err(|error| error.within(&draft.place))?);
    }
    let whole = Whole {
        edit,
        checked,
        mode,
    };
    for draft in checked.drafts.values() {
        let checked = whole.check(&draft.record);
        checked.map_err(|error| error.within(&draft.place))?;
    }
    whole.check_cpus()?;
    Ok(new_logins)
}

fn prune(edit: &mut Edit, checked: &Checked) {
    let base = DECLARED
        .into_iter()
        .flat_map(|kind| edit.base().of_kind(kind));
    let gone: Vec<Key> = base
        .map(|(key, _)| key.clone())
        .filter(|key| !checked.drafts.contains_key(key) && !stays(key, checked))
        .collect();
    gone.into_iter().for_each(|key| edit.remove(key));
}

/// True if a host made the record, and its user and type are declared.
fn stays(key: &Key, checked: &Checked) -> bool {
    let is_declared = |key: Key| checked.drafts.contains_key(&key) || key.is_made_by_hosts();
    let user = key.belongs_to().unwrap_or_default();
    key.is_made_by_hosts()
        && checked.drafts.contains_key(&Key::user(user))
        && Login::type_of_host_login(key)
            .is_none_or(|name| is_declared(Key::machine_type(user, name)))
}

fn has_default(checked: &Checked) -> bool {
    let mut records = checked.drafts.values().map(|draft| &draft.record);
    records.any(|record| matches!(record, Record::Upstream(it) if it.is_default))
}

/// The record with its secret.
fn resolved(
    edit: &Edit,
    key: &Key,
    draft: &Draft,
    new_logins: &mut Vec<NewLogin>,
) -> Result<Record> {
    let known = edit.base().get(key);
    let mut record = draft.record.clone();
    match (&mut record, &draft.secret) {
        (_, Secrecy::Given) => {}
        (Record::User(user), _) => {
            let known = known.and_then(|it| User::of(it));
            user.password_hash = known.and_then(|it| it.password_hash.clone());
        }
        (Record::Login(login), secrecy) => match (known.and_then(|it| Login::of(it)), secrecy) {
            (Some(known), _) => login.secret_sha256 = known.secret_sha256.clone(),
            (None, Secrecy::Kept(Some(made))) => new_logins.push(NewLogin {
                name: login.name(),
                secret: made.clone(),
            }),
            (None, _) => {}
        },
        (Record::Upstream(upstream), Secrecy::GivenToNew) => {
            upstreams::take_known_secrets(edit, upstream);
        }
        (Record::Upstream(upstream), Secrecy::Kept(_)) => {
            upstreams::fill_secrets(edit, upstream)?;
        }
        _ => {}
    }
    Ok(record)
}

/// The policy that there will be.
struct Whole<'a> {
    edit: &'a Edit,
    checked: &'a Checked,
    mode: Mode,
}

impl Whole<'_> {
    /// Refuses a declared record that does not go with the others.
    fn check(&self, record: &Record) -> Result<()> {
        match record {
            Record::Pin(pin) => {
                self.needs::<MachineType>("type", &Key::machine_type(&pin.user, &pin.machine_type))
            }
            Record::Grant(Grant {
                user: Some(user), ..
            }) => self.needs::<User>("user", &Key::user(user)),
            Record::Upstream(upstream) => upstreams::check_other_names(upstream, self.all()),
            _ => Ok(()),
        }
    }

    fn needs<T: Kept>(&self, field: &str, key: &Key) -> Result<()> {
        if self.edit.find::<T>(key).is_some() {
            return Ok(());
        }
        let reason = format!(
            "there is no {} `{}`: declare it, or take this away",
            key.kind().word(),
            key.name()
        );
        Err(Error::invalid(field, reason))
    }

    /// The declaration was checked with the names that there were then.
    fn check_cpus(&self) -> Result<()> {
        cpus::table(self.all::<Cpu>()).map(|_| ())
    }

    /// All records of a kind that there will be.
    fn all<'a, T: Kept + 'a>(&'a self) -> impl Iterator<Item = &'a T> {
        let drafts = self.checked.drafts.values();
        let declared = drafts.filter_map(|draft| T::of(&draft.record));
        let base = self.edit.base().of_kind(T::KIND);
        let stays = |key: &Key| !self.mode.prunes && !self.checked.drafts.contains_key(key);
        let kept = base.filter(move |(key, _)| stays(key));
        kept.filter_map(|(_, record)| T::of(record)).chain(declared)
    }
}
