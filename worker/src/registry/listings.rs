//! Lists: the tags of a repository, and what refers to a manifest.

use http::{HeaderName, HeaderValue, Response};

use super::{
    Asked, Notes, Registry,
    body::Body,
    error::{Error, Wanted},
    names::Target,
    served,
};
use crate::reference::Digest;

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

    /// Answers for a page of the manifests that refer to `digest`.
    pub(super) async fn referrers(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        digest: &Digest,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        let (upstream, repository) = (target.upstream, &target.repository);
        let pulled = self
            .puller
            .referrers(upstream, repository, digest, asked.query);
        let page = notes.wait_for(pulled).await;
        let page = page.map_err(|error| Error::Upstream(error, Wanted::List))?;
        let mut response = served::whole(asked, page.bytes, INDEX);
        let headers = response.headers_mut();
        if page.filtered {
            headers.insert(FILTERS_APPLIED, ARTIFACT_TYPE);
        }
        if let Some(next) = &page.next {
            let path = format!("/v2/{}/referrers/{digest}", target.name);
            served::link(asked, headers, &path, next);
        }
        Ok(response)
    }
}
