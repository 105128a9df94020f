//! Lists hosts for admins: logins with the observed status.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use metahub_policy::{CpuTable, Unmet};

use super::{HostName, choice::table, observed, report::lacks};
use crate::{
    Error, Result,
    catalog::{Actor, Catalog},
    policy::Policy,
    records::{Key, Login, ObservedHost},
};

/// The duration of the warning about two machines with one host id.
const WARNED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A host's login with its observed status.
#[derive(Clone, Debug)]
pub(crate) struct HostSummary {
    pub(crate) login: Login,
    pub(crate) observed: ObservedHost,
    /// The features of its type that the host does not have, as sentences.
    pub(crate) drift: Vec<String>,
    /// The warnings about the host, as sentences.
    pub(crate) warnings: Vec<String>,
}

impl Catalog {
    /// The hosts of `user`, or of all users, in the actor's scope.
    pub(crate) async fn hosts(
        &self,
        actor: &Actor,
        user: Option<&str>,
    ) -> Result<Vec<HostSummary>> {
        let mut observed = self.all_observed(user).await?;
        let policy = self.policy();
        let logins = policy.all::<Login>().filter(|login| {
            user.is_none_or(|user| user == login.user)
                && login.host.as_ref().is_some_and(|it| it.moved_to.is_none())
                && actor.scope.may_see(&Key::login(&login.name()))
        });
        let (former, cpus) = (former_types(&policy), table(&policy)?);
        let summaries = logins.map(|login| {
            let key = name_of(login).map(|name| observed::key(&name));
            let seen = key.as_ref().and_then(|key| observed.remove(key));
            let former = key.and_then(|key| former.get(&key).cloned());
            summary((&policy, &cpus), login, seen.unwrap_or_default(), former)
        });
        summaries.collect()
    }

    /// One host.
    pub(crate) async fn host(&self, actor: &Actor, name: &HostName) -> Result<HostSummary> {
        let policy = self.policy();
        let not_found = || Error::NotFound {
            kind: "host",
            name: name.to_string(),
        };
        actor
            .scope
            .check_seen(&Key::login(&format!("{}-", name.user)))?;
        let login = name.login(&policy).ok_or_else(not_found)?;
        let observed = self.observed(name).await?;
        let former = former_types(&policy).remove(&observed::key(name));
        summary((&policy, &table(&policy)?), login, observed, former)
    }
}

fn name_of(login: &Login) -> Option<HostName> {
    Some(HostName {
        user: login.user.clone(),
        id: login.host.as_ref()?.id.clone(),
    })
}

/// The types before a move whose logins exist, by the hosts' keys.
fn former_types(policy: &Policy) -> BTreeMap<String, String> {
    let logins = policy.all::<Login>();
    let former = logins.filter(|it| it.host.as_ref().is_some_and(|it| it.moved_to.is_some()));
    let former = former.filter_map(|login| {
        let key = observed::key(&name_of(login)?);
        Some((key, login.machine_type.clone()))
    });
    former.collect()
}

fn summary(
    (policy, cpus): (&Policy, &Arc<CpuTable>),
    login: &Login,
    observed: ObservedHost,
    former: Option<String>,
) -> Result<HostSummary> {
    let mut warnings = Vec::new();
    if let Some(former) = former {
        warnings.push(format!(
            "uses the login of `{former}` until its next report"
        ));
    }
    let doubled = observed.doubled_unix_secs;
    if let Some(at) = doubled.filter(|at| observed::now() < at + WARNED.as_secs()) {
        let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "elsewhere".into());
        warnings.push(format!(
            "came from {} and from {} at {}: is it a copy of another machine?",
            or_none(&observed.former_address),
            or_none(&observed.address),
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)),
        ));
    }
    let drift = match observed.last_seen_unix_secs {
        0 => Vec::new(),
        _ => lacks(policy, cpus, login, &observed.features)?,
    };
    Ok(HostSummary {
        login: login.clone(),
        drift: drift.iter().map(Unmet::to_string).collect(),
        observed,
        warnings,
    })
}
