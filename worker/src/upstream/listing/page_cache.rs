//! The last page that an upstream gave of each list. The upstream is asked every
//! time; what is cached stands in while it cannot be asked.

use std::{ops::Deref, sync::Arc, time::Instant};

use tokio::time::timeout;

use crate::{
    cache::Cache,
    purge::PurgeScope,
    reference::Repository,
    upstream::{
        Error, Site, Stale, Upstream,
        wire::{Wire, timed_out},
    },
};

/// What the pages of one kind of lists may weigh, in bytes.
const CAPACITY: u64 = 16 << 20;
/// What a page weighs besides its names and its content, in bytes.
const PAGE_WEIGHT: usize = 512;

/// Pages of one kind of lists.
#[derive(Debug)]
pub(super) struct PageCache<P> {
    pages: Cache<Key, CachedPage<P>>,
    weigh: fn(&P) -> usize,
    wire: Arc<Wire>,
}

/// A page of a list of a repository, as seen with one credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    site: Site,
    repository: Repository,
    /// Path and query of the page.
    page: Box<str>,
}

/// A page, and why it is an old one, if it is.
#[derive(Clone, Debug)]
pub(crate) struct Listed<P> {
    page: Arc<P>,
    /// Set when the upstream could not be asked for a newer one.
    pub(crate) stale: Option<Stale>,
}

#[derive(Debug)]
struct CachedPage<P> {
    page: Arc<P>,
    weight: usize,
    /// When the upstream gave it.
    confirmed: Instant,
    /// Until when the upstream is not asked again, and what it failed with.
    failed: Option<(Instant, Error)>,
}

impl<P> PageCache<P> {
    pub(super) fn new(wire: Arc<Wire>, weigh: fn(&P) -> usize) -> Self {
        let weight = |key: &Key, cached: &CachedPage<P>| {
            PAGE_WEIGHT + key.repository.as_str().len() + key.page.len() + cached.weight
        };
        Self {
            pages: Cache::new(CAPACITY, weight),
            weigh,
            wire,
        }
    }

    /// Drops the pages that `scope` covers.
    pub(super) fn purge(&self, scope: &PurgeScope<'_>) {
        self.pages
            .remove_all(|key, _| scope.covers_lists(key.site, &key.repository));
    }

    /// What `fetch` brings, or what it brought before, if the upstream fails. It
    /// is told whether there is nothing else, so that it is worth waiting for.
    pub(super) async fn get<F>(
        &self,
        upstream: &Upstream,
        key: Key,
        fetch: impl FnOnce(bool) -> F,
    ) -> Result<Listed<P>, Error>
    where
        F: Future<Output = Result<Listed<P>, Error>>,
    {
        let Some(cached) = self.pages.get(&key) else {
            let fetched = fetch(true).await;
            self.keep(key, &fetched);
            return fetched;
        };
        if let Some(stale) = cached.failed_at(self.wire.clock.now()) {
            return Ok(self.stand_in(&cached, stale));
        }
        let patience = self.wire.settings.patience;
        let fetched = timeout(patience, fetch(false)).await;
        match fetched.unwrap_or_else(|_| Err(timed_out(upstream))) {
            // Only what the upstream says about a list takes it back.
            Err(error) if !error.is_final() => {
                let until = self.wire.clock.now() + self.wire.settings.tag_ttl;
                let failed = Some((until, error.clone()));
                let stand_in = self.stand_in(&cached, error);
                self.pages.insert(key, CachedPage { failed, ..cached });
                Ok(stand_in)
            }
            fetched => {
                self.keep(key, &fetched);
                fetched
            }
        }
    }

    fn keep(&self, key: Key, fetched: &Result<Listed<P>, Error>) {
        match fetched {
            Ok(Listed { page, stale: None }) => {
                let cached = CachedPage {
                    page: Arc::clone(page),
                    weight: (self.weigh)(page),
                    confirmed: self.wire.clock.now(),
                    failed: None,
                };
                self.pages.insert(key, cached);
            }
            Ok(_) => {}
            Err(_) => self.pages.remove(&key),
        }
    }

    fn stand_in(&self, cached: &CachedPage<P>, why: Error) -> Listed<P> {
        self.wire.metrics.stale_served.inc();
        Listed {
            page: Arc::clone(&cached.page),
            stale: Some(Stale {
                confirmed: cached.confirmed,
                why,
            }),
        }
    }
}

impl Key {
    pub(super) fn new(
        upstream: &Upstream,
        repository: &Repository,
        path: &str,
        query: Option<&str>,
    ) -> Self {
        Self {
            site: upstream.site(),
            repository: repository.clone(),
            page: format!("{path}?{}", query.unwrap_or_default()).into(),
        }
    }
}

impl<P> Listed<P> {
    /// A page that has just come, unless it is `stale`.
    pub(super) fn new(page: P, stale: Option<Stale>) -> Self {
        let page = Arc::new(page);
        Self { page, stale }
    }
}

impl<P> Deref for Listed<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.page
    }
}

impl<P> CachedPage<P> {
    fn failed_at(&self, now: Instant) -> Option<Error> {
        let (until, error) = self.failed.as_ref()?;
        (now < *until).then(|| error.clone())
    }
}

impl<P> Clone for CachedPage<P> {
    fn clone(&self) -> Self {
        Self {
            page: Arc::clone(&self.page),
            weight: self.weight,
            confirmed: self.confirmed,
            failed: self.failed.clone(),
        }
    }
}
