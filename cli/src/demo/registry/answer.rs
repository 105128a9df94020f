//! What the registry answers (OCI distribution-spec, "Pulling").

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE},
    response::Builder,
};
use http_body_util::Full;
use serde_json::json;

use super::{
    State,
    contents::{Manifest, Repository},
    entry, push,
};

pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn answer(state: &mut State, request: &Request<Bytes>) -> Answer {
    let mut answer = if let Some(status) = state.failure {
        error(status, "UNAVAILABLE")
    } else if let Some(answer) = entry::answer(state.account.as_ref(), request) {
        answer
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        look_up(state, request)
    } else {
        push::answer(&mut state.contents, request)
    };
    if request.method() == Method::HEAD {
        *answer.body_mut() = Full::default();
    }
    answer
}

/// Splits the path from the right: a repository's name may hold the words that
/// separate it from what follows.
fn look_up(state: &State, request: &Request<Bytes>) -> Answer {
    let Some(path) = request.uri().path().strip_prefix("/v2/") else {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    };
    if path.is_empty() {
        return with_body(ok("application/json"), Bytes::from_static(b"{}"));
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        let repository = state.contents.repository(name);
        return repository.map_or_else(unknown_name, |it| tags(name, it));
    }
    if let Some((name, reference)) = path.rsplit_once("/manifests/") {
        let repository = state.contents.repository(name);
        return repository
            .and_then(|it| it.manifest(reference))
            .map_or_else(
                || error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
                manifest,
            );
    }
    if let Some((name, digest)) = path.rsplit_once("/blobs/") {
        let repository = state.contents.repository(name);
        return repository.and_then(|it| it.blob(digest)).map_or_else(
            || error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            |bytes| blob(digest, bytes, request.headers()),
        );
    }
    unknown_name()
}

fn unknown_name() -> Answer {
    error(StatusCode::NOT_FOUND, "NAME_UNKNOWN")
}

fn tags(name: &str, repository: &Repository) -> Answer {
    let tags: Vec<_> = repository.tags().collect();
    let body = json!({"name": name, "tags": tags}).to_string();
    with_body(ok("application/json"), body.into())
}

fn manifest(manifest: &Manifest) -> Answer {
    let head = ok(&manifest.media_type)
        .header("docker-content-digest", &manifest.digest)
        .header("etag", format!("\"{}\"", manifest.digest));
    with_body(head, manifest.bytes.clone())
}

fn blob(digest: &str, bytes: &Bytes, headers: &HeaderMap) -> Answer {
    let head = ok("application/octet-stream")
        .header("docker-content-digest", digest)
        .header(ACCEPT_RANGES, "bytes");
    match headers
        .get(RANGE)
        .map(|range| parse_range(range, bytes.len()))
    {
        None => with_body(head, bytes.clone()),
        Some(None) => error(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
        Some(Some((first, end))) => {
            let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
            let head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, range);
            with_body(head, bytes.slice(first..end))
        }
    }
}

/// The first byte, and the one after the last, of `bytes=N-` or `bytes=N-M`.
fn parse_range(range: &http::HeaderValue, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = match last {
        "" => length,
        last => last.parse::<usize>().ok()?.saturating_add(1).min(length),
    };
    (first < end).then_some((first, end))
}

pub(super) fn ok(media_type: &str) -> Builder {
    Response::builder()
        .header(CONTENT_TYPE, media_type)
        .header("docker-distribution-api-version", "registry/2.0")
}

pub(super) fn error(status: StatusCode, code: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": code.to_lowercase()}]}).to_string();
    with_body(ok("application/json").status(status), body.into())
}

/// All headers are the project's own words, so that building cannot fail.
pub(super) fn with_body(head: Builder, bytes: Bytes) -> Answer {
    head.header(CONTENT_LENGTH, bytes.len())
        .body(Full::new(bytes))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &'static str) -> Option<(usize, usize)> {
        parse_range(&http::HeaderValue::from_static(text), 10)
    }

    #[test]
    fn a_range_ends_with_the_blob() {
        assert_eq!(range("bytes=3-"), Some((3, 10)));
        assert_eq!(range("bytes=3-5"), Some((3, 6)));
        assert_eq!(range("bytes=3-99"), Some((3, 10)));
    }

    #[test]
    fn a_range_behind_the_blob_is_refused() {
        assert_eq!(range("bytes=10-"), None);
        assert_eq!(range("bytes=5-3"), None);
        assert_eq!(range("lines=1-2"), None);
    }
}
