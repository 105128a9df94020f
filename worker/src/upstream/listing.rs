//! Tags and referrers, page by page.

use bytes::Bytes;

/// A page of a repository's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagsPage {
    /// The tags, in the upstream's order.
    pub(crate) tags: Vec<String>,
    /// The query that asks for the next page, for example `n=2&last=b`. None:
    /// this is the last one.
    pub(crate) next: Option<String>,
}

/// A page of the manifests that refer to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReferrersPage {
    /// An image index, as JSON.
    pub(crate) bytes: Bytes,
    /// The query that asks for the next page. None: this is the last one.
    pub(crate) next: Option<String>,
    /// Whether the upstream has applied the `artifactType` filter.
    pub(crate) filtered: bool,
}
