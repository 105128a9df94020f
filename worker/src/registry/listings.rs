//! Lists: the tags of a repository, and what refers to a manifest.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, header::WARNING};

use super::{
    Asked, Notes, Registry,
    body::Body,
    error::{Error, Wanted},
    names::Target,
    served, trimmed,
};
use crate::{
    reference::Digest,
    snapshot::{Recipe, RecipeName},
    upstream::{Listed, ReferrersPage},
};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const ARTIFACT_TYPE: HeaderValue = HeaderValue::from_static("artifactType");
const INDEX: HeaderValue = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");

impl Registry {
    /// Answers for a page of tags.
    pub(super) async fn tags(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let (upstream, repository) = (target.upstream, &target.repository);
        let pulled = self.puller.tags(upstream, repository, asked.query);
        let page = notes.wait_for(pulled).await;
        let page = page.map_err(|error| Error::Upstream(error, Wanted::List))?;
        Ok(served::tags(asked, target, &page))
    }

    /// Answers for a page of the manifests that refer to `digest`. To a trimmed
    /// index refers what refers to its source: no upstream knows the former.
    pub(super) async fn referrers(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        digest: &Digest,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let name = trimmed::name(target, digest);
        let page = match self.recipes.known(&name) {
            Some(recipe) => {
                self.page(asked, target, &recipe.source_digest, notes)
                    .await?
            }
            None => {
                let page = self.page(asked, target, digest, notes).await?;
                match self.recipe_if(is_empty(&page), &name).await {
                    Some(recipe) => {
                        self.page(asked, target, &recipe.source_digest, notes)
                            .await?
                    }
                    None => page,
                }
            }
        };
        let mut response = served::whole(asked, page.bytes.clone(), INDEX);
        let headers = response.headers_mut();
        if page.filtered {
            headers.insert(FILTERS_APPLIED, ARTIFACT_TYPE);
        }
        if let Some(next) = &page.next {
            let path = format!("/v2/{}/referrers/{digest}", target.name);
            served::link(asked, headers, &path, next);
        }
        if let Some(stale) = &page.stale {
            headers.insert(WARNING, served::stale_warning(stale));
        }
        Ok(response)
    }

    async fn page(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        digest: &Digest,
        notes: &mut Notes,
    ) -> Result<Listed<ReferrersPage>, Error> {
        let (upstream, repository) = (target.upstream, &target.repository);
        let pulled = self
            .puller
            .referrers(upstream, repository, digest, asked.query);
        let page = notes.wait_for(pulled).await;
        page.map_err(|error| Error::Upstream(error, Wanted::List))
    }

    /// The recipe of an index that another worker may have trimmed just now.
    async fn recipe_if(&self, worthwhile: bool, name: &RecipeName) -> Option<Arc<Recipe>> {
        match worthwhile {
            true => self.recipes.find(name).await.ok()?,
            false => None,
        }
    }
}

fn is_empty(page: &ReferrersPage) -> bool {
    #[derive(serde::Deserialize)]
    struct List {
        manifests: Option<Vec<serde::de::IgnoredAny>>,
    }
    let list = serde_json::from_slice(&page.bytes);
    list.is_ok_and(|list: List| list.manifests.is_none_or(|it| it.is_empty()))
}
