//! Counts hosts and drifted hosts.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::observed;
use crate::{Result, catalog::Catalog, records::Login};

/// The maximum age of the counts: each count reads the status of all hosts.
const FRESH: Duration = Duration::from_secs(30);

/// The numbers of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostCounts {
    pub(crate) joined: u64,
    /// The hosts whose last report lacked a feature of their type.
    pub(crate) drifted: u64,
}

/// The last counts with their time.
#[derive(Debug, Default)]
pub(crate) struct LastCounts(Mutex<Option<(Instant, HostCounts)>>);

impl Catalog {
    /// The numbers of hosts, at most half a minute old.
    pub(crate) async fn host_counts(&self) -> Result<HostCounts> {
        let last = *self.counts().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counts)) = last.filter(|(at, _)| at.elapsed() < FRESH) {
            let _ = at;
            return Ok(counts);
        }
        let seen = self.all_observed(None).await?;
        let policy = self.policy();
        let mut counts = HostCounts::default();
        for name in policy.all::<Login>().filter_map(observed::own_name) {
            counts.joined += 1;
            let seen = seen.get(&observed::key(&name));
            counts.drifted += u64::from(seen.is_some_and(|it| it.drifted_unix_secs.is_some()));
        }
        let now = (Instant::now(), counts);
        *self.counts().lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(counts)
    }

    fn counts(&self) -> &Mutex<Option<(Instant, HostCounts)>> {
        &self.host_counts.0
    }
}
