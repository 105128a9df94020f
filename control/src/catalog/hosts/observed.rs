//! The observed status of hosts, stored outside the policy's revision.
//!
//! A report writes the status if the status changes or the last write is hours
//! old. If two control planes write reports of one host at the same time, one
//! of the two writes stays.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::HostName;
use crate::{
    Result, StoreError,
    catalog::Catalog,
    records::{Evidence, Login, ObservedHost},
};

/// The maximum error of a host's last-seen time.
const GRAIN: Duration = Duration::from_secs(6 * 60 * 60);
/// The time after which a machine may join again from another address without a
/// warning.
const TWO_MACHINES: Duration = Duration::from_secs(24 * 60 * 60);

/// The facts that a host reports: features, evidence, agent version.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFacts {
    pub(crate) features: Vec<String>,
    pub(crate) evidence: Vec<Evidence>,
    /// The version of the reporting program.
    pub(crate) agent_version: String,
}

/// The request by which a host came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    ToJoin,
    ToReport,
}

impl Catalog {
    /// Stores the facts of a host. `lacks`: the host lacks a feature of its
    /// type.
    pub(super) async fn observe(
        &self,
        name: &HostName,
        facts: &HostFacts,
        from: Option<IpAddr>,
        (came, lacks): (Came, bool),
    ) -> Result<()> {
        let key = key(name);
        let known = self.store.status(&key).await?;
        let known = known.as_deref().map(|json| parse(&key, json)).transpose()?;
        let next = next(known.as_ref(), facts, from, (came, lacks), now());
        if known.as_ref() == Some(&next) {
            return Ok(());
        }
        let json = serde_json::to_string(&next).map_err(about(&key))?;
        Ok(self.store.put_status(&key, Some(json)).await?)
    }

    /// The observed status of a host. Empty if there is none.
    pub(super) async fn observed(&self, name: &HostName) -> Result<ObservedHost> {
        let key = key(name);
        let known = self.store.status(&key).await?;
        known.map_or(Ok(ObservedHost::default()), |json| parse(&key, &json))
    }

    /// The observed status of the hosts of `user`, or of all hosts, by key.
    pub(super) async fn all_observed(
        &self,
        user: Option<&str>,
    ) -> Result<std::collections::BTreeMap<String, ObservedHost>> {
        let start = match user {
            Some(user) => format!("host/{user}/"),
            None => "host/".to_owned(),
        };
        let all = self.store.statuses(&start).await?.into_iter();
        let parsed = all.map(|(key, json)| parse(&key, &json).map(|it| (key, it)));
        parsed.collect()
    }

    /// Deletes the observed status of a host.
    pub(super) async fn forget_observed(&self, name: &HostName) -> Result<()> {
        Ok(self.store.put_status(&key(name), None).await?)
    }

    /// Deletes the observed status of hosts that have no login.
    pub(crate) async fn sweep_observed(&self) -> Result<()> {
        let all = self.store.statuses("host/").await?;
        let policy = self.policy();
        for (key, _) in all {
            let parts = key.strip_prefix("host/").and_then(|it| it.split_once('/'));
            let name = parts.map(|(user, id)| HostName {
                user: user.to_owned(),
                id: id.to_owned(),
            });
            if name.is_none_or(|name| name.login(&policy).is_none()) {
                self.store.put_status(&key, None).await?;
            }
        }
        Ok(())
    }
}

/// The host of a login. `None`: the login belongs to no host, or to a type
/// before a move.
pub(super) fn own_name(login: &Login) -> Option<HostName> {
    let host = login.host.as_ref().filter(|it| it.moved_to.is_none())?;
    Some(HostName {
        user: login.user.clone(),
        id: host.id.clone(),
    })
}

/// The key of a host's observed status.
pub(super) fn key(name: &HostName) -> String {
    format!("host/{name}")
}

fn parse(key: &str, json: &str) -> Result<ObservedHost> {
    Ok(serde_json::from_str(json).map_err(about(key))?)
}

fn about(key: &str) -> impl Fn(serde_json::Error) -> StoreError {
    move |source| StoreError::Record {
        key: key.to_owned(),
        source,
    }
}

/// The status of a host at `now`, after a request with `facts`.
fn next(
    known: Option<&ObservedHost>,
    facts: &HostFacts,
    from: Option<IpAddr>,
    (came, lacks): (Came, bool),
    now: u64,
) -> ObservedHost {
    let first = ObservedHost {
        first_seen_unix_secs: now,
        ..ObservedHost::default()
    };
    let mut next = known.cloned().unwrap_or(first);
    let last_seen = next.last_seen_unix_secs;
    if next.features != facts.features {
        next.features = facts.features.clone();
        next.evidence = facts.evidence.clone();
    }
    next.agent_version = facts.agent_version.clone();
    next.drifted_unix_secs = lacks.then(|| next.drifted_unix_secs.unwrap_or(now));
    let address = from.map(|it| it.to_canonical().to_string());
    if next.address != address {
        let came_back = address.is_some() && next.former_address == address;
        let joined_beside = came == Came::ToJoin
            && next.address.is_some()
            && now < last_seen + TWO_MACHINES.as_secs();
        if came_back || joined_beside {
            next.doubled_unix_secs = Some(now);
        }
        next.former_address = std::mem::replace(&mut next.address, address);
    }
    let is_new = known.is_none_or(|known| *known != next);
    if is_new || now >= last_seen + GRAIN.as_secs() || now < last_seen {
        next.last_seen_unix_secs = now;
    }
    next
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60;

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn facts(features: &[&str]) -> HostFacts {
        HostFacts {
            features: features.iter().map(|it| it.to_string()).collect(),
            ..HostFacts::default()
        }
    }

    fn report(known: &ObservedHost, last: u8, now: u64) -> ObservedHost {
        let came = (Came::ToReport, false);
        next(Some(known), &facts(&["cpu:zen3"]), from(last), came, now)
    }

    fn joined() -> ObservedHost {
        let came = (Came::ToJoin, false);
        next(None, &facts(&["cpu:zen3"]), from(1), came, HOUR)
    }

    #[test]
    fn a_report_that_says_nothing_new_is_noted_once_in_hours() {
        let known = joined();

        assert_eq!(report(&known, 1, 2 * HOUR), known);
        assert_eq!(report(&known, 1, 7 * HOUR).last_seen_unix_secs, 7 * HOUR);
    }

    #[test]
    fn a_host_that_moves_once_is_one_and_one_that_comes_back_is_two() {
        let moved = report(&joined(), 2, 2 * HOUR);
        let back = report(&moved, 1, 3 * HOUR);

        assert_eq!(moved.doubled_unix_secs, None);
        assert_eq!(back.doubled_unix_secs, Some(3 * HOUR));
    }

    #[test]
    fn a_host_that_joins_from_two_addresses_within_a_day_is_two() {
        let join = |now| {
            let came = (Came::ToJoin, false);
            next(Some(&joined()), &facts(&["cpu:zen3"]), from(2), came, now)
        };

        assert_eq!(join(2 * HOUR).doubled_unix_secs, Some(2 * HOUR));
        assert_eq!(join(48 * HOUR).doubled_unix_secs, None);
    }

    #[test]
    fn drift_begins_when_it_is_first_seen_and_ends_with_it() {
        let drift = |known: &ObservedHost, lacks, now| {
            let came = (Came::ToReport, lacks);
            next(Some(known), &facts(&["cpu:zen2"]), from(1), came, now)
        };
        let first = drift(&joined(), true, 2 * HOUR);
        let later = drift(&first, true, 9 * HOUR);

        assert_eq!(later.drifted_unix_secs, Some(2 * HOUR));
        assert_eq!(drift(&later, false, 10 * HOUR).drifted_unix_secs, None);
    }
}
