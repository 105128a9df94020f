//! Answers that hold what was asked for.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, WARNING},
};
use serde_json::json;

use super::{Asked, body::Body, names::Target};
use crate::{
    reference::Digest,
    upstream::{Listed, Source, Stale, TagsPage, warning},
};

/// Names what an answer holds.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Names the index that an answer to a tag was chosen from, also where nothing
/// in it fits: by this digest, any worker serves it whole.
pub(crate) const SOURCE_DIGEST: HeaderName = HeaderName::from_static("metahub-source-digest");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A manifest, chosen from what the upstream serves as `origin`: that may be an
/// old one, or have warnings.
pub(super) fn manifest(asked: &Asked<'_>, source: &Source, origin: &Source) -> Response<Body> {
    let mut response = if has(asked.headers, &source.digest) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        whole(asked, source.bytes.clone(), source.media_type.clone())
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, value(source.digest.as_str()));
    headers.insert(ETAG, value(&format!("\"{}\"", source.digest)));
    for warning in origin.warnings.iter() {
        headers.append(WARNING, warning.clone());
    }
    if let Some(stale) = &origin.stale {
        headers.append(WARNING, stale_warning(stale));
    }
    response
}

/// A page of tags.
pub(super) fn tags(
    asked: &Asked<'_>,
    target: &Target<'_>,
    page: &Listed<TagsPage>,
) -> Response<Body> {
    let list = json!({"name": target.name.as_str(), "tags": page.tags});
    let mut response = whole(asked, list.to_string().into(), JSON);
    let headers = response.headers_mut();
    if let Some(next) = &page.next {
        let path = format!("/v2/{}/tags/list", target.name);
        link(asked, headers, &path, next);
    }
    if let Some(stale) = &page.stale {
        headers.insert(WARNING, stale_warning(stale));
    }
    response
}

/// Bytes at hand, or their headers alone.
pub(super) fn whole(asked: &Asked<'_>, bytes: Bytes, media_type: HeaderValue) -> Response<Body> {
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(if asked.head {
        Body::empty()
    } else {
        Body::Whole(bytes)
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, length);
    response
}

/// Says where the next page is (distribution-spec, "Listing Tags").
pub(super) fn link(asked: &Asked<'_>, headers: &mut HeaderMap, path: &str, query: &str) {
    let namespace = match asked.namespace.as_deref() {
        Some(namespace) => format!("&ns={namespace}"),
        None => String::new(),
    };
    let next = format!("<{path}?{query}{namespace}>; rel=\"next\"");
    headers.insert(LINK, value(&next));
}

/// Whether the client says that it has `digest` already.
pub(super) fn has(headers: &HeaderMap, digest: &Digest) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|tag| tag == "*" || tag == digest.as_str())
}

/// The reason why an answer may be an old one.
pub(super) fn stale_warning(stale: &Stale) -> HeaderValue {
    let age = stale.age().as_secs();
    warning(&format!("not confirmed for {age} s: {}", stale.why))
}

/// A text as a header: what no header may hold becomes an empty one.
pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap()
    }

    #[test]
    fn a_client_that_has_the_digest_may_say_so_in_many_ways() {
        let digest = digest();
        for line in [
            format!("\"{digest}\""),
            format!("{digest}"),
            format!("W/\"{digest}\""),
            format!("\"other\", \"{digest}\""),
            "*".to_owned(),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value(&line))]);
            assert!(has(&headers, &digest), "{line}");
        }
    }

    #[test]
    fn a_client_that_has_another_digest_does_not_have_this_one() {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value("\"sha256:1\", abc"))]);

        assert!(!has(&headers, &digest()));
        assert!(!has(&HeaderMap::new(), &digest()));
    }
}
