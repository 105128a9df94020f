//! Checks one image for this host: its tag by two connections, ranges of its
//! blobs, and a name with a digest.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use metahub_policy::is_index_media_type;
use reqwest::{Method, Response};
use serde_json::Value;

use super::{
    finding::Finding,
    registry::{Registry, body, text},
};
use crate::{
    demo::{client::refusal, digest::sha256},
    explain::name::ImageName,
};

const CHECK: &str = "image";
const PINNED: &str = "digest";
const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

/// A tag's result for this host.
struct Resolved {
    digest: String,
    /// The digest of the index that the manifest was selected from.
    source: Option<String>,
}

/// A manifest with a verified digest.
struct Manifest {
    media_type: String,
    json: Value,
}

/// Checks `image`, a name without the registry.
pub(super) async fn check(registry: &Registry, image: &ImageName) -> Vec<Finding> {
    let mut findings = Vec::new();
    let resolved = match (&image.tag, &image.digest) {
        // The existence of a `latest` tag beside the digest is unknown.
        (None, Some(_)) => resolve(registry, 0, image, "latest").await.ok(),
        (tag, _) => {
            let tag = tag.as_deref().unwrap_or("latest");
            same(registry, image, tag, &mut findings).await
        }
    };
    if let Some(digest) = &image.digest {
        findings.push(pinned(registry, image, digest, resolved.as_ref()).await);
    } else if let Some(resolved) = resolved {
        findings.push(content(registry, image, &resolved.digest).await);
    }
    findings
}

/// The tag's result, if both connections agree.
async fn same(
    registry: &Registry,
    image: &ImageName,
    tag: &str,
    findings: &mut Vec<Finding>,
) -> Option<Resolved> {
    let name = format!("{}:{tag}", image.name);
    let (first, second) = tokio::join!(
        resolve(registry, 0, image, tag),
        resolve(registry, 1, image, tag),
    );
    match (first, second) {
        (Ok(first), Ok(second)) if first.digest == second.digest => Some(first),
        (Ok(first), Ok(second)) => {
            let what = format!(
                "the workers disagree on {name}: one connection was given {}, the other {}",
                first.digest, second.digest
            );
            let next = "metahubctl worker list: has each the same revision?";
            findings.push(Finding::fail(CHECK, what, next));
            None
        }
        (Err(why), _) | (_, Err(why)) => {
            let what = format!("this host gets nothing of {name}: {why}");
            let next = format!("metahubctl image explain {name}");
            findings.push(Finding::fail(CHECK, what, next));
            None
        }
    }
}

async fn resolve(
    registry: &Registry,
    n: usize,
    image: &ImageName,
    tag: &str,
) -> Result<Resolved, String> {
    let answer = manifest_answer(registry, n, Method::HEAD, image, tag).await?;
    if answer.status() != StatusCode::OK {
        // A HEAD response has no body, and the error is in the body.
        let answer = manifest_answer(registry, n, Method::GET, image, tag).await?;
        return Err(refusal(answer).await);
    }
    let digest = text(answer.headers(), "docker-content-digest");
    Ok(Resolved {
        digest: digest.ok_or("the answer names no digest")?,
        source: text(answer.headers(), "metahub-source-digest"),
    })
}

async fn manifest_answer(
    registry: &Registry,
    n: usize,
    method: Method,
    image: &ImageName,
    reference: &str,
) -> Result<Response, String> {
    let path = format!("/v2/{}/manifests/{reference}", image.name);
    let answer = registry.ask(n, method, &path, HeaderMap::new()).await;
    answer.map_err(|error| format!("{error:#}"))
}

async fn manifest(
    registry: &Registry,
    n: usize,
    image: &ImageName,
    digest: &str,
) -> Result<Manifest, String> {
    let answer = manifest_answer(registry, n, Method::GET, image, digest).await?;
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer).await);
    }
    let media_type = text(answer.headers(), "content-type").unwrap_or_default();
    let bytes = body(answer).await.map_err(|error| format!("{error:#}"))?;
    if digest.starts_with("sha256:") && sha256(&bytes) != digest {
        return Err(format!("asked for {digest}, got {}", sha256(&bytes)));
    }
    let json = serde_json::from_slice(&bytes);
    Ok(Manifest {
        media_type,
        json: json.map_err(|_| format!("{digest} is no JSON"))?,
    })
}

/// Checks that another worker serves the selected manifest and its blobs.
async fn content(registry: &Registry, image: &ImageName, digest: &str) -> Finding {
    let name = image.to_string();
    match first_byte(registry, image, digest).await {
        Ok(()) => {
            let what = format!(
                "{name} is {digest} for this host, by two connections, and its blobs come in parts"
            );
            Finding::ok(CHECK, what)
        }
        Err(why) => {
            let what = format!("{name} is {digest} for this host, which cannot be pulled: {why}");
            Finding::fail(CHECK, what, "metahubctl worker list, and the workers' logs")
        }
    }
}

/// Requests the manifest by the second connection and one byte of a blob by
/// both, like an engine that resumes a layer.
async fn first_byte(registry: &Registry, image: &ImageName, digest: &str) -> Result<(), String> {
    let mut found = manifest(registry, 1, image, digest).await?;
    if is_index_media_type(&found.media_type) {
        let child = found.json["manifests"][0]["digest"].as_str();
        let child = child.ok_or("the index is empty")?.to_owned();
        found = manifest(registry, 1, image, &child).await?;
    }
    let blob = found.json["config"]["digest"].as_str();
    let Some(blob) = blob.or(found.json["layers"][0]["digest"].as_str()) else {
        return Ok(());
    };
    let path = format!("/v2/{}/blobs/{blob}", image.name);
    for n in 0..2 {
        let range = HeaderMap::from_iter([(header::RANGE, FIRST_BYTE)]);
        let answer = registry.ask(n, Method::GET, &path, range).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        match answer.status() {
            // The upstream serves the blob itself, at another address.
            status if status.is_redirection() => {}
            StatusCode::PARTIAL_CONTENT => {
                let bytes = body(answer).await.map_err(|error| format!("{error:#}"))?;
                if bytes.len() != 1 {
                    return Err(format!("asked for 1 byte of a blob, got {}", bytes.len()));
                }
            }
            StatusCode::OK => return Err("a blob comes whole where a part was asked for".into()),
            _ => return Err(refusal(answer).await),
        }
    }
    Ok(())
}

/// The finding for a name with a digest: the digest fixes the bytes, without
/// selection.
async fn pinned(
    registry: &Registry,
    image: &ImageName,
    digest: &str,
    resolved: Option<&Resolved>,
) -> Finding {
    let name = &image.name;
    let next = format!(
        "pull the tag, or pin the digest of this host's type: metahubctl image resolve {name} --type TYPE"
    );
    let found = match manifest(registry, 0, image, digest).await {
        Ok(found) => found,
        Err(why) => {
            let what = format!("{name}@{digest} is not there: {why}");
            return Finding::fail(PINNED, what, next);
        }
    };
    if let Some(resolved) = resolved.filter(|it| it.digest == digest) {
        let what = format!("{name}@{} is what the tag gives this host", resolved.digest);
        return Finding::ok(PINNED, what);
    }
    if is_index_media_type(&found.media_type) {
        let what = format!(
            "{name}@{digest} is an index: by its digest every host gets it whole, and the engine takes the first image of its architecture"
        );
        return Finding::warn(PINNED, what, next);
    }
    let Some(resolved) = resolved else {
        let what = format!("{name}@{digest} is one image: every host gets it, whatever its type");
        return Finding::warn(PINNED, what, next);
    };
    let of = features(registry, image, digest, resolved).await;
    let of = of.map_or_else(String::new, |it| format!(" ({it})"));
    let what = format!(
        "{name}@{digest} is another variant{of} than the tag gives this host, {}",
        resolved.digest
    );
    Finding::warn(PINNED, what, next)
}

/// The features of a variant in the index.
async fn features(
    registry: &Registry,
    image: &ImageName,
    digest: &str,
    resolved: &Resolved,
) -> Option<String> {
    let source = resolved.source.as_deref()?;
    let index = manifest(registry, 0, image, source).await.ok()?;
    let mut entries = index.json["manifests"].as_array()?.iter();
    let entry = entries.find(|it| it["digest"] == digest)?;
    let features = entry["platform"]["features"].as_array()?.iter();
    let features: Vec<&str> = features.filter_map(Value::as_str).collect();
    Some(features.join(", ")).filter(|it| !it.is_empty())
}
