//! Cached content that this worker drops since an admin says so.

use crate::{
    reference::{Digest, Repository},
    snapshot::Snapshot,
    upstream::Site,
};

/// Which content: what fits all that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purge {
    pub(crate) upstream: Option<Box<str>>,
    pub(crate) repository: Option<Repository>,
    pub(crate) digest: Option<Digest>,
}

/// A purge as caches look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PurgeScope<'a> {
    site: Option<Site>,
    repository: Option<&'a Repository>,
    digest: Option<&'a Digest>,
}

impl Purge {
    /// What it means now. `None`: its upstream is not there, nor is anything
    /// of it in a cache that could be asked for.
    pub(crate) fn scope(&self, snapshot: &Snapshot) -> Option<PurgeScope<'_>> {
        let site = match &self.upstream {
            None => None,
            Some(name) => Some(snapshot.upstream(name)?.site()),
        };
        Some(PurgeScope {
            site,
            repository: self.repository.as_ref(),
            digest: self.digest.as_ref(),
        })
    }
}

impl<'a> PurgeScope<'a> {
    /// Whether an entry is to be dropped that is of `repository` and is, or is
    /// made of, one of `digests`.
    pub(crate) fn covers<'b>(
        &self,
        site: Site,
        repository: &Repository,
        digests: impl IntoIterator<Item = &'b Digest>,
    ) -> bool {
        self.covers_lists(site, repository)
            && self
                .digest
                .is_none_or(|it| digests.into_iter().any(|digest| digest == it))
    }

    /// Whether the lists of `repository` are to be dropped: they may name the
    /// content.
    pub(crate) fn covers_lists(&self, site: Site, repository: &Repository) -> bool {
        self.site.is_none_or(|it| it == site) && self.repository.is_none_or(|it| it == repository)
    }

    /// The one digest, if one is given.
    pub(crate) fn digest(&self) -> Option<&'a Digest> {
        self.digest
    }
}
