//! Compares a host's report with its machine type.

use std::{net::IpAddr, sync::Arc};

use metahub_policy::{CpuTable, Unmet};

use super::{
    HostName,
    choice::{Terms, check_features, choose, table, unmet},
    moved,
    observed::{Came, HostFacts},
};
use crate::{
    Error, Result, Secret,
    access::Scope,
    catalog::{Actor, Catalog},
    policy::Policy,
    records::{Key, Login, MachineType},
    secrets,
};

/// The answer to a host's report.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    /// The host's login, which may differ from the login in the request.
    pub(crate) login: Login,
    /// The features of its type that the host does not have, as sentences.
    pub(crate) drift: Vec<String>,
}

impl Catalog {
    /// Takes the report of the host with this login. If the host lacks a
    /// feature of its type and its token allows new types, moves the host.
    pub(crate) async fn report_host(
        &self,
        from: Option<IpAddr>,
        login: &str,
        secret: &Secret,
        facts: HostFacts,
    ) -> Result<Reported> {
        let name = host_of(&self.policy(), login, secret)?;
        let actor = Actor {
            name: name.id.clone(),
            from,
            scope: Scope::All,
        };
        self.drop_former(&actor, &name, login).await?;
        let cpus = table(&self.policy())?;
        check_features(&facts.features, &cpus)?;
        let mut own = own_login(&self.policy(), &name)?;
        let mut lacks = lacks(&self.policy(), &cpus, &own, &facts.features)?;
        let is_auto = own.host.as_ref().is_some_and(|host| host.auto);
        if !lacks.is_empty() && is_auto {
            own = self.settle(&actor, &name, &facts.features).await?;
            lacks = self::lacks(&self.policy(), &cpus, &own, &facts.features)?;
        }
        let came = (Came::ToReport, !lacks.is_empty());
        self.observe(&name, &facts, from, came).await?;
        Ok(Reported {
            login: own,
            drift: lacks.iter().map(Unmet::to_string).collect(),
        })
    }

    /// Removes the logins of the types before a move, once the host uses the
    /// newest login.
    async fn drop_former(&self, actor: &Actor, name: &HostName, used: &str) -> Result<()> {
        let is_over = |policy: &Policy| {
            let logins = name.logins(policy);
            logins.len() > 1 && name.login(policy).is_some_and(|it| it.name() == used)
        };
        if !is_over(&self.policy()) {
            return Ok(());
        }
        self.edit(actor, "host.settle", |edit| {
            if !is_over(edit.base()) {
                return Ok(());
            }
            let logins = name.logins(edit.base()).into_iter();
            let former = logins.map(Login::name).filter(|it| it != used);
            let former: Vec<Key> = former.map(|it| Key::login(&it)).collect();
            former.into_iter().for_each(|key| edit.remove(key));
            Ok(())
        })
        .await
    }

    /// Moves a host to the type that suits it best.
    async fn settle(&self, actor: &Actor, name: &HostName, features: &[String]) -> Result<Login> {
        self.edit(actor, "host.move", |edit| {
            let login = own_login(edit.base(), name)?;
            let types = login.host.as_ref().map(|host| host.types.clone());
            let terms = Terms {
                user: &name.user,
                types: &types.unwrap_or_default(),
                auto: true,
            };
            let chosen = choose(edit.base(), &terms, features, None)?;
            if let Some(made) = chosen.made {
                edit.put(made);
            }
            Ok(moved(edit, &login, &chosen.name))
        })
        .await
    }
}

/// The host of this login, if the secret matches. A login of a type before a
/// move is accepted, too.
fn host_of(policy: &Policy, login: &str, secret: &Secret) -> Result<HostName> {
    let hash = secrets::sha256_hex(secret);
    let login: Option<&Login> = policy.find(&Key::login(login));
    let found = login.and_then(|login| {
        let is_right = secrets::are_equal(login.secret_sha256.expose(), hash.expose());
        let host = login.host.as_ref().filter(|_| is_right)?;
        Some(HostName {
            user: login.user.clone(),
            id: host.id.clone(),
        })
    });
    found.ok_or_else(refused)
}

fn own_login(policy: &Policy, name: &HostName) -> Result<Login> {
    name.login(policy).cloned().ok_or_else(refused)
}

fn refused() -> Error {
    Error::Unauthenticated {
        reason: "the host's login is refused: the host was removed, or it has joined again and \
                 has another secret. Run `metahubctl host login` on it"
            .into(),
    }
}

/// The features of its login's type that a host with `features` does not have.
pub(super) fn lacks(
    policy: &Policy,
    cpus: &Arc<CpuTable>,
    login: &Login,
    features: &[String],
) -> Result<Vec<Unmet>> {
    let key = Key::machine_type(&login.user, &login.machine_type);
    match policy.find::<MachineType>(&key) {
        Some(kind) => unmet(cpus, kind, features),
        None => Ok(Vec::new()),
    }
}
