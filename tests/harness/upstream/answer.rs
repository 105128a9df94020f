//! What an upstream answers from its contents.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use super::{Shared, lock};
use crate::{digest::sha256, image::Manifest};

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// What is stored under the request's path.
pub(super) fn stored<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path == "/v2/" {
        return empty(StatusCode::OK);
    }
    if let Some(repository) = path.strip_suffix("/tags/list") {
        return tags(shared, repository);
    }
    let Some(content) = lock(&shared.contents).get(path).cloned() else {
        return empty(StatusCode::NOT_FOUND);
    };
    let range = request.headers().get(header::RANGE);
    match range.and_then(|r| wanted(r.to_str().ok()?, content.bytes.len())) {
        Some(range) => partial(&content, range),
        None => whole(&content, request.method()),
    }
}

fn whole(content: &Manifest, method: &Method) -> Response<Full<Bytes>> {
    let body = match *method {
        Method::HEAD => Bytes::new(),
        _ => content.bytes.clone(),
    };
    Response::builder()
        .header(header::CONTENT_TYPE, content.media_type)
        .header(header::CONTENT_LENGTH, content.bytes.len())
        .header("docker-content-digest", sha256(&content.bytes))
        .body(Full::new(body))
        .expect("headers are good")
}

fn partial(content: &Manifest, range: Range<usize>) -> Response<Full<Bytes>> {
    let (first, last, total) = (range.start, range.end - 1, content.bytes.len());
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header(header::CONTENT_TYPE, content.media_type)
        .header(
            header::CONTENT_RANGE,
            format!("bytes {first}-{last}/{total}"),
        )
        .body(Full::new(content.bytes.slice(range)))
        .expect("headers are good")
}

/// The bytes that `bytes=N-` or `bytes=N-M` asks for.
fn wanted(range: &str, total: usize) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = last
        .parse()
        .map_or(total, |last: usize| total.min(last + 1));
    (first < end).then_some(first..end)
}

fn tags(shared: &Shared, repository: &str) -> Response<Full<Bytes>> {
    let prefix = format!("{repository}/manifests/");
    let contents = lock(&shared.contents);
    let references = contents
        .keys()
        .filter_map(|path| path.strip_prefix(&prefix));
    let tags: Vec<&str> = references.filter(|r| !r.contains(':')).collect();
    let name = repository.trim_start_matches("/v2/");
    let body = json!({"name": name, "tags": tags}).to_string();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))
        .expect("headers are good")
}
