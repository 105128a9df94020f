//! Tags and referrers, page by page.
//!
//! Of an upstream's `Link` only the query is taken over: the next page is
//! asked for at the worker.

mod page_cache;
pub(super) mod query;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

pub(crate) use self::page_cache::Listed;
use self::{
    page_cache::{Key, PageCache},
    query::{next_query, safe_query, without_page_size},
};
use super::{
    Error, ManifestFault, Source, Stale, Upstream,
    exchange::{Ask, Exchange},
    manifests::Manifests,
    metrics::Kind,
};
use crate::{
    purge::PurgeScope,
    reference::{Digest, Reference, Repository},
};

/// The most pages of an upstream that make one of a client.
const MOST_PAGES: usize = 10;
/// The largest page that is taken, in bytes.
const MAX_PAGE: usize = 8 << 20;

/// What an index without entries looks like.
const NO_REFERRERS: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

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

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// What tells an image index from other JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    media_type: Option<String>,
    // Go writes an empty list as null. It must be there.
    #[serde(rename = "manifests", deserialize_with = "Option::deserialize")]
    _manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "digest")]
    _digest: String,
}

/// The lists of all upstreams.
#[derive(Debug)]
pub(crate) struct Lists {
    exchange: Arc<Exchange>,
    manifests: Arc<Manifests>,
    tags: PageCache<TagsPage>,
    referrers: PageCache<ReferrersPage>,
}

impl Lists {
    pub(crate) fn new(exchange: &Arc<Exchange>, manifests: &Arc<Manifests>) -> Self {
        let wire = &exchange.wire;
        Self {
            exchange: Arc::clone(exchange),
            manifests: Arc::clone(manifests),
            tags: PageCache::new(Arc::clone(wire), TagsPage::weight),
            referrers: PageCache::new(Arc::clone(wire), |page| page.bytes.len()),
        }
    }

    /// Drops the lists that `scope` covers.
    pub(crate) fn purge(&self, scope: &PurgeScope<'_>) {
        self.tags.purge(scope);
        self.referrers.purge(scope);
    }

    /// The page of tags that `query` asks for.
    pub(crate) async fn tags(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        query: Option<&str>,
    ) -> Result<Listed<TagsPage>, Error> {
        let query = query.and_then(safe_query);
        let key = Key::new(upstream, repository, "tags", query.as_deref());
        let fetch = async |is_patient| {
            let list = TagList {
                lists: self,
                upstream,
                repository,
                is_patient,
            };
            list.fetch(query).await.map(|page| Listed::new(page, None))
        };
        self.tags.get(upstream, key, fetch).await
    }

    /// The page of referrers of `digest` that `query` asks for. Where the
    /// upstream has no referrers API, its fallback tag stands in, else there are
    /// none.
    pub(crate) async fn referrers(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
        query: Option<&str>,
    ) -> Result<Listed<ReferrersPage>, Error> {
        let ask = Ask {
            upstream,
            repository,
            kind: Kind::Referrers,
            method: Method::GET,
            path: format!("referrers/{digest}"),
            query: query.and_then(safe_query),
            headers: accept("application/vnd.oci.image.index.v1+json"),
            hand_over: None,
        };
        let key = Key::new(upstream, repository, &ask.path, ask.query.as_deref());
        let fetch = async |is_patient| match self.ask_for_referrers(&ask, is_patient).await {
            Err(error) if !error.is_weather() => self.fallback(upstream, repository, digest).await,
            page => page.map(|page| Listed::new(page, None)),
        };
        self.referrers.get(upstream, key, fetch).await
    }

    async fn ask_for_referrers(
        &self,
        ask: &Ask<'_>,
        is_patient: bool,
    ) -> Result<ReferrersPage, Error> {
        let (headers, bytes) = self.page(ask, is_patient).await?;
        match is_index(&bytes) {
            true => Ok(ReferrersPage {
                bytes,
                next: next_query(&headers),
                filtered: headers.contains_key("oci-filters-applied"),
            }),
            false => Err(Error::BadAnswer {
                upstream: ask.upstream.name.clone(),
                what: "no list of referrers",
            }),
        }
    }

    async fn page(&self, ask: &Ask<'_>, is_patient: bool) -> Result<(HeaderMap, Bytes), Error> {
        let reply = match is_patient {
            true => self.exchange.ask_patiently(ask).await?,
            false => self.exchange.ask(ask).await?,
        };
        if reply.response.status() != StatusCode::OK {
            return Err(Error::BadAnswer {
                upstream: ask.upstream.name.clone(),
                what: "an unexpected status",
            });
        }
        let headers = reply.response.headers().clone();
        let wire = &self.exchange.wire;
        let bytes = wire.read(ask.upstream, reply.response, MAX_PAGE).await?;
        Ok((headers, bytes))
    }

    /// The index under the tag that stands in for the referrers API
    /// (distribution-spec, "Referrers tag schema").
    async fn fallback(
        &self,
        upstream: &Arc<Upstream>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Listed<ReferrersPage>, Error> {
        let tag = digest.as_str().replace(':', "-");
        // A tag has 128 bytes at most: the schema cuts off the rest.
        let tag = Reference::parse(tag.get(..128).unwrap_or(&tag));
        let found = match tag {
            Some(tag) => self
                .manifests
                .get(upstream, repository, &tag)
                .await
                .map(Some),
            None => Ok(None),
        };
        let (bytes, stale): (_, Option<Stale>) = match found {
            Ok(Some(source)) if is_usable(&source) => (source.bytes.clone(), source.stale.clone()),
            Ok(_) | Err(Error::NotFound { .. }) => (Bytes::from_static(NO_REFERRERS), None),
            // JSON, but no manifest.
            Err(Error::BadManifest { fault, .. }) if fault != ManifestFault::NotJson => {
                (Bytes::from_static(NO_REFERRERS), None)
            }
            Err(error) => return Err(error),
        };
        let page = ReferrersPage {
            bytes,
            next: None,
            filtered: false,
        };
        Ok(Listed::new(page, stale))
    }
}

/// The tags of one repository.
struct TagList<'a> {
    lists: &'a Lists,
    upstream: &'a Arc<Upstream>,
    repository: &'a Repository,
    is_patient: bool,
}

impl TagList<'_> {
    /// The page that `query` asks for. An upstream that refuses pages of that
    /// size is asked for its own, as many as make one.
    async fn fetch(&self, query: Option<String>) -> Result<TagsPage, Error> {
        let (size, smaller) = without_page_size(query.as_deref());
        match (self.page(query).await, size) {
            (Err(error), Some(size)) if may_refuse_size(&error) => {
                // The first error says what is wrong, if it is not the size.
                self.pages(size, smaller).await.map_err(|_| error)
            }
            (page, _) => page,
        }
    }

    async fn pages(&self, size: usize, query: Option<String>) -> Result<TagsPage, Error> {
        let mut whole = self.page(query).await?;
        for _ in 1..MOST_PAGES {
            let Some(next) = whole.next.clone().filter(|_| whole.tags.len() < size) else {
                break;
            };
            let page = self.page(Some(next)).await?;
            if whole.tags.len() + page.tags.len() > size {
                break;
            }
            whole.tags.extend(page.tags);
            whole.next = page.next;
        }
        Ok(whole)
    }

    async fn page(&self, query: Option<String>) -> Result<TagsPage, Error> {
        let ask = Ask {
            upstream: self.upstream,
            repository: self.repository,
            kind: Kind::Tags,
            method: Method::GET,
            path: "tags/list".to_owned(),
            query,
            headers: accept("application/json"),
            hand_over: None,
        };
        let (headers, bytes) = self.lists.page(&ask, self.is_patient).await?;
        let tags: Tags = serde_json::from_slice(&bytes).map_err(|_| Error::BadAnswer {
            upstream: self.upstream.name.clone(),
            what: "no list of tags",
        })?;
        Ok(TagsPage {
            tags: tags.tags.unwrap_or_default(),
            next: next_query(&headers),
        })
    }
}

impl TagsPage {
    fn weight(&self) -> usize {
        let tags = self.tags.iter();
        tags.map(|tag| size_of::<String>() + tag.len()).sum()
    }
}

/// ECR says 405 to more than 1,000, quay 413 to more than 100, distribution 400
/// to more than its own maximum.
fn may_refuse_size(error: &Error) -> bool {
    !error.is_weather() && !matches!(error, Error::NotFound { .. } | Error::Denied { .. })
}

fn is_index(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|index: Index| {
        let media_type = index.media_type.as_deref();
        media_type.is_none_or(metahub_policy::is_index_media_type)
    })
}

fn is_usable(source: &Source) -> bool {
    let media_type = source.media_type.to_str().unwrap_or_default();
    metahub_policy::is_index_media_type(media_type) && is_index(&source.bytes)
}

fn accept(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(media_type))])
}
