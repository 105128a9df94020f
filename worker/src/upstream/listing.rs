//! Tags and referrers, page by page.
//!
//! Of an upstream's `Link` only the query is taken over: the next page is
//! asked for at the worker.

pub(super) mod query;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use self::query::{next_query, safe_query};
use super::{
    Error, Source, Upstream,
    exchange::{Ask, Exchange},
    manifests::Manifests,
    metrics::Kind,
};
use crate::reference::{Digest, Reference, Repository};

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

#[derive(Deserialize)]
struct Index {
    #[serde(rename = "manifests")]
    _manifests: Vec<serde::de::IgnoredAny>,
}

/// The page of tags that `query` asks for.
pub(crate) async fn tags(
    exchange: &Exchange,
    upstream: &Arc<Upstream>,
    repository: &Repository,
    query: Option<&str>,
) -> Result<TagsPage, Error> {
    let ask = Ask {
        upstream,
        repository,
        kind: Kind::Tags,
        method: Method::GET,
        path: "tags/list".to_owned(),
        query: query.and_then(safe_query),
        headers: accept("application/json"),
        hand_over: None,
    };
    let (headers, bytes) = page(exchange, &ask).await?;
    let tags: Tags = serde_json::from_slice(&bytes).map_err(|_| Error::BadAnswer {
        upstream: upstream.name.clone(),
        what: "no list of tags",
    })?;
    Ok(TagsPage {
        tags: tags.tags.unwrap_or_default(),
        next: next_query(&headers),
    })
}

/// The page of referrers of `digest` that `query` asks for. Where the upstream
/// has no referrers API, its fallback tag stands in, else there are none.
pub(crate) async fn referrers(
    (exchange, manifests): (&Exchange, &Arc<Manifests>),
    upstream: &Arc<Upstream>,
    repository: &Repository,
    digest: &Digest,
    query: Option<&str>,
) -> Result<ReferrersPage, Error> {
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
    let (headers, bytes) = match page(exchange, &ask).await {
        Err(Error::NotFound { .. } | Error::BadAnswer { .. } | Error::Refused { .. }) => {
            return fallback(manifests, upstream, repository, digest).await;
        }
        page => page?,
    };
    serde_json::from_slice::<Index>(&bytes).map_err(|_| Error::BadAnswer {
        upstream: upstream.name.clone(),
        what: "no list of referrers",
    })?;
    Ok(ReferrersPage {
        bytes,
        next: next_query(&headers),
        filtered: headers.contains_key("oci-filters-applied"),
    })
}

async fn page(exchange: &Exchange, ask: &Ask<'_>) -> Result<(HeaderMap, Bytes), Error> {
    let reply = exchange.ask_patiently(ask).await?;
    if reply.response.status() != StatusCode::OK {
        return Err(Error::BadAnswer {
            upstream: ask.upstream.name.clone(),
            what: "an unexpected status",
        });
    }
    let headers = reply.response.headers().clone();
    let bytes = exchange
        .wire
        .read(ask.upstream, reply.response, MAX_PAGE)
        .await?;
    Ok((headers, bytes))
}

/// The index under the tag that stands in for the referrers API
/// (distribution-spec, "Referrers tag schema").
async fn fallback(
    manifests: &Arc<Manifests>,
    upstream: &Arc<Upstream>,
    repository: &Repository,
    digest: &Digest,
) -> Result<ReferrersPage, Error> {
    let tag = digest.as_str().replace(':', "-");
    // A tag has 128 bytes at most: the schema cuts off the rest.
    let tag = Reference::parse(tag.get(..128).unwrap_or(&tag));
    let found = match tag {
        Some(tag) => manifests.get(upstream, repository, &tag).await.map(Some),
        None => Ok(None),
    };
    let bytes = match found {
        Ok(Some(source)) if is_index(&source) => source.bytes.clone(),
        Ok(_) | Err(Error::NotFound { .. }) => Bytes::from_static(NO_REFERRERS),
        Err(error) => return Err(error),
    };
    Ok(ReferrersPage {
        bytes,
        next: None,
        filtered: false,
    })
}

fn is_index(source: &Source) -> bool {
    let media_type = source.media_type.to_str().unwrap_or_default();
    metahub_policy::is_index_media_type(media_type)
}

fn accept(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(media_type))])
}
