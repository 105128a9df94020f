//! The upstreams as the policy has them now.
//!
//! A request keeps the upstream that it began with. What outlives a change of
//! its password, a blob of hours, asks here whom to show which one.

use std::{fmt, sync::Arc};

use super::Upstream;

type Lookup = dyn Fn(&str) -> Option<Arc<Upstream>> + Send + Sync;

/// Finds upstreams by name. By default it knows none.
#[derive(Clone, Default)]
pub(crate) struct Roster {
    lookup: Option<Arc<Lookup>>,
}

impl Roster {
    /// The upstreams that `lookup` finds by name.
    pub(crate) fn new(
        lookup: impl Fn(&str) -> Option<Arc<Upstream>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            lookup: Some(Arc::new(lookup)),
        }
    }

    /// `upstream` as it is now. One that is gone, or that is elsewhere now,
    /// stays what it was: it is another registry.
    pub(super) fn now(&self, upstream: &Arc<Upstream>) -> Arc<Upstream> {
        let found = self.lookup.as_ref().and_then(|it| it(&upstream.name));
        let found = found.filter(|found| found.url == upstream.url);
        found.unwrap_or_else(|| Arc::clone(upstream))
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str, url: &str) -> Arc<Upstream> {
        Arc::new(Upstream::new(name, url.parse().unwrap(), None, false))
    }

    #[test]
    fn an_upstream_that_has_moved_or_is_gone_stays_what_it_was() {
        let roster = Roster::new(|name| (name == "hub").then(|| upstream(name, "https://b.test")));

        for (name, url, is_found) in [
            ("hub", "https://b.test", true),
            ("hub", "https://a.test", false),
            ("quay", "https://b.test", false),
        ] {
            let then = upstream(name, url);
            assert_eq!(
                !Arc::ptr_eq(&roster.now(&then), &then),
                is_found,
                "{name} {url}"
            );
        }
    }
}
