//! Hosts: each joins by a host token of its user and gets its own login.
//!
//! One commit spends a use of the token and creates the login: a token for 400
//! hosts creates 400 logins at any number of control planes. A host makes its
//! own secret and sends the hash. A repeated request, after a lost answer,
//! spends no use and returns the same login.

mod choice;
mod counts;
mod list;
mod observed;
mod report;
mod tokens;

use std::fmt;

use tracing::warn;

use self::{
    choice::{Chosen, choose},
    observed::Came,
    tokens::{good_token, spent},
};
pub(crate) use self::{
    counts::LastCounts, list::HostSummary, observed::HostFacts, tokens::HostTokenWish,
};
use super::{Actor, Catalog, edit::Edit};
use crate::{
    Error, Result, Secret, names,
    policy::Policy,
    records::{HOST_MARK, HostToken, Kept as _, Key, Login, LoginHost, MachineType, User},
    secrets,
};

/// A host's request to join.
#[derive(Clone, Debug)]
pub(crate) struct HostWish {
    /// The secret of the host token.
    pub(crate) token: Secret,
    pub(crate) id: String,
    /// The hash of the machine's id. Empty: not known.
    pub(crate) machine: String,
    /// SHA-256 of the secret that the host has made, in lower-case hex.
    pub(crate) secret_sha256: Secret,
    pub(crate) facts: HostFacts,
    /// The requested type. `None`: the best.
    pub(crate) machine_type: Option<String>,
    /// True if the host replaces another machine with this id.
    pub(crate) replaces: bool,
}

/// The result of a join.
#[derive(Clone, Debug)]
pub(crate) struct JoinedHost {
    pub(crate) login: Login,
    /// The reason for the type, as a sentence.
    pub(crate) why: String,
}

/// A host by its user and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName {
    pub(crate) user: String,
    pub(crate) id: String,
}

impl Catalog {
    /// Joins a host. A repeated join makes the host's former secret invalid.
    pub(crate) async fn join_host(&self, actor: &Actor, wish: &HostWish) -> Result<JoinedHost> {
        check(wish)?;
        let hash = secrets::sha256_hex(&wish.token);
        // Checked before the join waits for the policy's write lock.
        good_token(&self.policy(), &hash)?;
        let joining = self.edit(actor, "host.join", |edit| {
            let token = good_token(edit.base(), &hash)?;
            edit.need::<User>(&Key::user(&token.user))?;
            let name = HostName {
                user: token.user.clone(),
                id: wish.id.clone(),
            };
            let known = name.login(edit.base()).and_then(|it| it.host.clone());
            check_machine(known.as_ref(), wish)?;
            if known.is_none_or(|known| known.token != token.name) {
                edit.put(spent(&token)?);
            }
            let asked = wish.machine_type.as_deref();
            let chosen = choose(edit.base(), &token.terms(), &wish.facts.features, asked)?;
            Ok(admit(edit, &token, wish, chosen))
        });
        let joined = joining.await?;
        let name = HostName {
            user: joined.login.user.clone(),
            id: wish.id.clone(),
        };
        // The host has joined, even if the status cannot be written.
        let came = (Came::ToJoin, false);
        let noted = self.observe(&name, &wish.facts, actor.from, came).await;
        if let Err(error) = noted {
            warn!("cannot note what the host `{name}` is: {error}");
        }
        Ok(joined)
    }

    /// Removes a host: its login is refused from then on.
    pub(crate) async fn remove_host(&self, actor: &Actor, name: &HostName) -> Result<()> {
        self.edit(actor, "host.remove", |edit| {
            name.need(edit)?;
            remove_logins(edit, name);
            Ok(())
        })
        .await?;
        self.forget_observed(name).await
    }

    /// Moves a host to another type of its user and returns the new login. The
    /// former login stays until the host uses the new one.
    pub(crate) async fn move_host(
        &self,
        actor: &Actor,
        name: &HostName,
        machine_type: &str,
    ) -> Result<Login> {
        self.edit(actor, "host.move", |edit| {
            let login = name.need(edit)?.clone();
            edit.need::<MachineType>(&Key::machine_type(&name.user, machine_type))?;
            Ok(moved(edit, &login, machine_type))
        })
        .await
    }
}

impl HostName {
    /// The host's login. `None`: there is no such host.
    pub(crate) fn login<'a>(&self, policy: &'a Policy) -> Option<&'a Login> {
        let mut logins = self.logins(policy).into_iter();
        logins.find(|it| it.host.as_ref().is_some_and(|host| host.moved_to.is_none()))
    }

    /// The host's login, and its logins of the types before a move.
    fn logins<'a>(&self, policy: &'a Policy) -> Vec<&'a Login> {
        let start = Key::login(&format!("{}-", self.user));
        let end = format!("{HOST_MARK}{}", self.id);
        let logins = policy.starting_with(&start);
        let logins = logins.filter(|(key, _)| key.name().ends_with(&end));
        logins.filter_map(|(_, record)| Login::of(record)).collect()
    }

    fn need<'a>(&self, edit: &'a Edit) -> Result<&'a Login> {
        // Refuses a key outside the scope, also if no record is under it.
        edit.check_seen(&Key::login(&format!("{}-{HOST_MARK}", self.user)))?;
        self.login(edit.base()).ok_or_else(|| Error::NotFound {
            kind: "host",
            name: self.to_string(),
        })
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.id)
    }
}

fn check(wish: &HostWish) -> Result<()> {
    names::check_type("host_id", &wish.id)?;
    if !wish.machine.is_empty() && !names::is_lower_hex(&wish.machine, 64) {
        return Err(Error::invalid("machine", "is not 64 lower-case hex digits"));
    }
    if !names::is_lower_hex(wish.secret_sha256.expose(), 64) {
        return Err(Error::invalid("secret_sha256", "is not 32 bytes"));
    }
    Ok(())
}

/// Refuses a machine whose host id belongs to another machine.
fn check_machine(known: Option<&LoginHost>, wish: &HostWish) -> Result<()> {
    let is_another = known.is_some_and(|known| {
        !known.machine.is_empty() && !wish.machine.is_empty() && known.machine != wish.machine
    });
    if !is_another || wish.replaces {
        return Ok(());
    }
    let id = &wish.id;
    Err(Error::Blocked {
        reason: format!(
            "another machine has joined as `{id}`: give this one another name (`--host-id`), or \
             let it take that place (`--replace`) if it is the same host, installed anew"
        ),
    })
}

fn admit(edit: &mut Edit, token: &HostToken, wish: &HostWish, chosen: Chosen) -> JoinedHost {
    let name = HostName {
        user: token.user.clone(),
        id: wish.id.clone(),
    };
    let login = Login {
        user: token.user.clone(),
        machine_type: chosen.name,
        secret_sha256: wish.secret_sha256.clone(),
        allow_selectors: false,
        label: None,
        host: Some(LoginHost {
            id: wish.id.clone(),
            machine: wish.machine.clone(),
            token: token.name.clone(),
            types: token.types.clone(),
            auto: token.auto,
            moved_to: None,
        }),
    };
    remove_logins(edit, &name);
    if let Some(made) = chosen.made {
        edit.put(made);
    }
    edit.put(login.clone());
    JoinedHost {
        login,
        why: chosen.why,
    }
}

fn remove_logins(edit: &mut Edit, name: &HostName) {
    let logins = name.logins(edit.base()).into_iter();
    let keys: Vec<Key> = logins.map(|login| Key::login(&login.name())).collect();
    keys.into_iter().for_each(|key| edit.remove(key));
}

/// Plans the move of the host with `login`. Returns its new login.
fn moved(edit: &mut Edit, login: &Login, machine_type: &str) -> Login {
    let Some(host) = login
        .host
        .clone()
        .filter(|_| login.machine_type != machine_type)
    else {
        return login.clone();
    };
    let new = Login {
        machine_type: machine_type.to_owned(),
        ..login.clone()
    };
    edit.put(Login {
        host: Some(LoginHost {
            moved_to: Some(machine_type.to_owned()),
            ..host
        }),
        ..login.clone()
    });
    edit.put(new.clone());
    new
}

#[cfg(test)]
mod tests;
