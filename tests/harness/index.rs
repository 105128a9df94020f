//! Image indexes as tests write them: entries that need no images behind them.

use metahub_cli::demo::registry::Registry;
use serde_json::{Value, json};

/// The media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// An entry for linux/amd64 that needs `features`.
pub fn entry(digest: &str, features: &[&str]) -> Value {
    let mut platform = json!({"os": "linux", "architecture": "amd64"});
    if !features.is_empty() {
        platform["features"] = json!(features);
    }
    json!({"mediaType": IMAGE, "size": 1, "digest": digest, "platform": platform})
}

/// Puts an OCI index of these entries into `upstream`, under a tag.
pub fn put_index(upstream: &Registry, repository: &str, tag: &str, entries: &[Value]) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let digest = upstream.put_manifest(repository, INDEX, index.to_string());
    upstream.tag(repository, tag, Some(&digest));
}
