//! Blobs: streamed from their upstream, or from the disk.

use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, IF_RANGE, RANGE},
};

use super::{
    Asked, Notes, Registry,
    body::Body,
    error::{Error, Wanted},
    names::{Target, without_port},
    permission::Permission,
    served::{CONTENT_DIGEST, has, value},
};
use crate::{reference::Digest, upstream::BlobRequest};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl Registry {
    /// Answers for a blob, or a part of one.
    pub(super) async fn blob(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        digest: &Digest,
        notes: &mut Notes,
    ) -> Result<Response<Body>, Error> {
        // Whoever has the blob is told whether it is still there, no more.
        let has = has(asked.headers, digest);
        let request = BlobRequest {
            repository: &target.repository,
            digest,
            method: if has { &Method::HEAD } else { asked.method },
            range: asked.headers.get(RANGE).filter(|_| !has),
            if_range: asked.headers.get(IF_RANGE),
            host: asked.authority.map(without_port),
        };
        let blob = notes.wait_for(self.puller.blob(target.upstream, request));
        let blob = blob.await;
        let blob = blob.map_err(|error| Error::Upstream(error, Wanted::Blob))?;
        let permission = Permission::new(
            &self.current,
            asked.login,
            &target.upstream.name,
            &target.repository,
        );
        let mut response = blob.map(|body| Body::blob(body, permission));
        if has {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let headers = response.headers_mut();
        headers.entry(CONTENT_TYPE).or_insert(BYTES);
        headers.insert(CONTENT_DIGEST, value(digest.as_str()));
        Ok(response)
    }
}
