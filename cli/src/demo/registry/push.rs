//! What the registry answers to a push (OCI distribution-spec, "Pushing"):
//! manifests, and blobs that another repository has.

use bytes::Bytes;
use http::{
    Method, Request, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use url::form_urlencoded;

use super::{
    answer::{Answer, error, ok, with_body},
    contents::Contents,
};
use crate::demo::digest::sha256;

pub(super) fn answer(contents: &mut Contents, request: &Request<Bytes>) -> Answer {
    let path = request.uri().path();
    let path = path.strip_prefix("/v2/").unwrap_or_default();
    match *request.method() {
        Method::PUT => match path.rsplit_once("/manifests/") {
            Some((name, reference)) => put_manifest(contents, name, reference, request),
            None => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        },
        Method::POST => match path.strip_suffix("/blobs/uploads/") {
            Some(name) => mount(contents, name, request.uri().query().unwrap_or_default()),
            None => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        },
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
    }
}

fn put_manifest(
    contents: &mut Contents,
    name: &str,
    reference: &str,
    request: &Request<Bytes>,
) -> Answer {
    let media_type = request.headers().get(CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let digest = sha256(request.body());
    if reference.contains(':') && reference != digest {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
    }
    let bytes = request.body().clone();
    contents.put_manifest(name, &digest, media_type.unwrap_or_default(), bytes);
    if reference != digest {
        contents.tag(name, reference, Some(&digest));
    }
    created(&format!("/v2/{name}/manifests/{digest}"))
}

/// Takes a blob from another repository. Uploads are not taken.
fn mount(contents: &mut Contents, name: &str, query: &str) -> Answer {
    let param = |wanted: &str| {
        let mut params = form_urlencoded::parse(query.as_bytes());
        params
            .find(|(key, _)| key == wanted)
            .map(|(_, value)| value)
    };
    let (Some(digest), Some(from)) = (param("mount"), param("from")) else {
        return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
    };
    let source = contents.repository(&from);
    let Some(bytes) = source.and_then(|it| it.blob(&digest)).cloned() else {
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN");
    };
    contents.put_blob(name, &digest, bytes);
    created(&format!("/v2/{name}/blobs/{digest}"))
}

fn created(location: &str) -> Answer {
    let head = ok("application/json").status(StatusCode::CREATED);
    with_body(head.header(LOCATION, location), Bytes::new())
}
