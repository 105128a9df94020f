//! How many hosts there are, and how many of them have drifted.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::observed;
use crate::{Result, catalog::Catalog, records::Login};

/// How old the counts may be: each look reads what is observed of all hosts.
const FRESH: Duration = Duration::from_secs(30);

/// How many hosts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostCounts {
    pub(crate) joined: u64,
    /// Of these, how many lacked something of their types when they reported
    /// last.
    pub(crate) drifted: u64,
}

/// The last counts, and when they were made.
#[derive(Debug, Default)]
pub(crate) struct LastCounts(Mutex<Option<(Instant, HostCounts)>>);

impl Catalog {
    /// How many hosts there are, half a minute ago at most.
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
