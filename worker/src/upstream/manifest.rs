//! Is this a manifest, which kind, and the one that was asked for?
//!
//! What passes here is what clients and the selection will see: exactly one
//! reading of the bytes, and bytes that hash to their digest.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, ManifestFault, Source, Upstream,
    hash::{is_digest_of, sha256},
    header_text::header_text,
};
use crate::reference::{Digest, Reference};

/// The largest manifest that is taken, in bytes: clients take no larger ones.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;

/// What upstreams are asked for: everything that has a digest of its own kind.
pub(crate) const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     */*;q=0.1",
);

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// The parts of a manifest that tell what it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    schema_version: Option<u64>,
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Checks `bytes`, which `upstream` has sent for `reference` with `headers`.
pub(crate) fn check(
    upstream: &Upstream,
    reference: &Reference,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<Source, Error> {
    let name = || upstream.name.clone();
    let read = media_type(headers, &bytes);
    if read == Err(ManifestFault::NotJson) {
        return Err(Error::NoManifest {
            upstream: name(),
            what: description(headers, &bytes),
        });
    }
    let digest = verified_digest(upstream, reference, headers, &bytes)?;
    let media_type = read.map_err(|fault| Error::BadManifest {
        upstream: name(),
        fault,
    })?;
    Ok(Source::new(bytes, media_type, digest).with_headers(headers))
}

/// What came in place of a manifest, in words.
fn description(headers: &HeaderMap, bytes: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let is_page = ["<!doctype html", "<html"]
        .iter()
        .any(|it| text.contains(it));
    let media_type = headers.get(header::CONTENT_TYPE).map(header_text);
    let media_type = media_type.filter(|it| is_media_type(essence(it)));
    match media_type {
        _ if bytes.is_empty() => "an empty body".into(),
        _ if is_page => "an HTML page".into(),
        Some(media_type) => format!("a body of {}", essence(&media_type)).into(),
        None => "a body of no known type".into(),
    }
}

/// `Docker-Content-Digest`, if it is of an algorithm that can be verified.
pub(crate) fn announced_digest(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get("docker-content-digest")?.to_str().ok()?)
}

/// The digest that was asked for, else the announced one, else one of our own
/// making; the bytes hash to it, and to the announced one if there is one.
fn verified_digest(
    upstream: &Upstream,
    reference: &Reference,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<Digest, Error> {
    let asked_for = match reference {
        Reference::Digest(digest) => Some(digest.clone()),
        Reference::Tag(_) => None,
    };
    let announced = announced_digest(headers);
    for promised in [&asked_for, &announced].into_iter().flatten() {
        if !is_digest_of(promised, bytes) {
            return Err(Error::DigestMismatch {
                upstream: upstream.name.clone(),
                expected: promised.clone(),
            });
        }
    }
    Ok(asked_for.or(announced).unwrap_or_else(|| sha256(bytes)))
}

/// The media type that header and body agree on, without parameters.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Result<HeaderValue, ManifestFault> {
    let outline: Outline<'_> = serde_json::from_slice(bytes).map_err(|_| ManifestFault::NotJson)?;
    let header = header_media_type(headers);
    let body = outline.media_type.as_deref();
    let media_type = match (header, body) {
        (Some(header), Some(body)) if header != body => return Err(ManifestFault::MediaType),
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => outline.guess().ok_or(ManifestFault::NotJson)?,
    };
    if outline.is_schema1() || SCHEMA1.contains(&media_type) {
        return Err(ManifestFault::Schema1);
    }
    if outline.is_ambiguous(media_type) {
        return Err(ManifestFault::Ambiguous);
    }
    let good = is_media_type(media_type).then(|| HeaderValue::from_str(media_type).ok());
    good.flatten().ok_or(ManifestFault::MediaType)
}

/// `type/subtype` without parameters (RFC 6838, 4.2).
fn is_media_type(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_good);
    let parts = text.split_once('/');
    parts.is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype))
}

/// What the header says, if it says anything specific.
fn header_media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // A parameter may hold anything.
    let value = value.split(|byte| *byte == b';').next()?;
    let media_type = str::from_utf8(value).ok()?.trim();
    let is_vague = media_type.starts_with("text/")
        || media_type.ends_with("/octet-stream")
        || matches!(media_type, "" | "application/json");
    (!is_vague).then_some(media_type)
}

/// A media type without its parameters.
fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

impl Outline<'_> {
    /// What the shape suggests where neither header nor body says.
    fn guess(&self) -> Option<&'static str> {
        if self.manifests.is_some() {
            Some(OCI_INDEX)
        } else if self.config.is_some() {
            Some(OCI_MANIFEST)
        } else {
            self.is_schema1().then_some(SCHEMA1[0])
        }
    }

    fn is_schema1(&self) -> bool {
        self.schema_version == Some(1) || self.fs_layers.is_some()
    }

    /// Whether a client could take an index for an image or the reverse.
    fn is_ambiguous(&self, media_type: &str) -> bool {
        let is_image = self.layers.is_some() || self.config.is_some();
        if metahub_policy::is_index_media_type(media_type) {
            is_image
        } else {
            let says_image = matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST);
            self.manifests.is_some() && (is_image || says_image)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(content_type: &str, body: &str) -> Result<String, ManifestFault> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
        media_type(&headers, body.as_bytes()).map(|m| m.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_media_type_comes_without_parameters() {
        let body = r#"{"schemaVersion":2,"manifests":[]}"#;

        let media_type = read(&format!("{OCI_INDEX}; charset=utf-8"), body);

        assert_eq!(media_type.as_deref(), Ok(OCI_INDEX));
    }

    #[test]
    fn a_parameter_outside_of_ascii_hides_no_media_type() {
        let value = [OCI_INDEX.as_bytes(), b"; title=\"D\xe9p\xf4t\""].concat();
        let value = HeaderValue::from_bytes(&value).unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);

        assert_eq!(header_media_type(&headers), Some(OCI_INDEX));
    }

    #[test]
    fn a_vague_header_gives_way_to_the_body_then_to_its_shape() {
        for (body, expected) in [
            (r#"{"mediaType":"application/x"}"#, "application/x"),
            (r#"{"manifests":[]}"#, OCI_INDEX),
            (r#"{"config":{},"layers":[]}"#, OCI_MANIFEST),
        ] {
            for vague in ["", "text/plain; charset=utf-8", "application/octet-stream"] {
                assert_eq!(read(vague, body).as_deref(), Ok(expected));
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (content_type, body, fault) in [
            (
                OCI_INDEX,
                r#"{"manifests":[],"layers":[]}"#,
                ManifestFault::Ambiguous,
            ),
            (
                OCI_MANIFEST,
                r#"{"manifests":[]}"#,
                ManifestFault::Ambiguous,
            ),
            (
                OCI_INDEX,
                r#"{"manifests":[],"manifests":[]}"#,
                ManifestFault::NotJson,
            ),
            (
                OCI_INDEX,
                r#"{"mediaType":"application/x"}"#,
                ManifestFault::MediaType,
            ),
        ] {
            assert_eq!(read(content_type, body), Err(fault), "{body}");
        }
    }

    #[test]
    fn schema_1_is_refused_by_its_name_and_by_its_shape() {
        for (content_type, body) in [
            (SCHEMA1[1], "{}"),
            ("text/plain", r#"{"schemaVersion":1,"fsLayers":[]}"#),
        ] {
            assert_eq!(read(content_type, body), Err(ManifestFault::Schema1));
        }
    }

    #[test]
    fn a_media_type_of_the_body_is_one_without_parameters() {
        for text in ["application", "a/b;c=d", "a/b/c", "/", "a b/c", ""] {
            let body = format!(r#"{{"mediaType":"{text}"}}"#);
            assert_eq!(read("", &body), Err(ManifestFault::MediaType), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_refused() {
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));

        for body in ["", "[]", "null", "<html>", r#"{"a":1"#, &deep] {
            assert_eq!(read("", body), Err(ManifestFault::NotJson));
        }
    }

    proptest! {
        #[test]
        fn any_manifest_is_read_without_harm(
            content_type in "[ -~]{0,60}|application/[a-z.+;]{0,40}",
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "(\\{|\\}|\\[|\\]|[0-9,:]|\"(mediaType|manifests|layers|schemaVersion|config)\":?){0,40}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let content_type = content_type.parse().unwrap();
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);

            if media_type(&headers, &body).is_ok() {
                let json: serde_json::Result<IgnoredAny> = serde_json::from_slice(&body);
                prop_assert!(json.is_ok());
            }
        }
    }
}
