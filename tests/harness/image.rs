//! Images that tests push: built here, FROM scratch, without a network.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::digest::sha256;

/// In whose words a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's, schema 2.
    Docker,
    /// OCI's.
    Oci,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What it is.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Bytes,
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its configuration and layers.
    pub blobs: Vec<Bytes>,
    /// What names them.
    pub manifest: Manifest,
}

/// An image for several kinds of hosts.
#[derive(Clone, Debug)]
pub struct Variants {
    /// The variants, in order.
    pub images: Vec<Image>,
    /// What names them, with the features that each needs.
    pub index: Manifest,
}

impl Manifest {
    /// The digest of its bytes.
    pub fn digest(&self) -> String {
        sha256(&self.bytes)
    }
}

impl Image {
    /// An image of one layer that holds `files`; runs the first of them.
    pub fn build(format: Format, files: &[(&str, &[u8])]) -> Self {
        let tarball = tarball(files);
        let layer = gzipped(&tarball);
        let entrypoint = format!("/{}", files[0].0);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": [entrypoint]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&tarball)]},
        });
        let config = Bytes::from(config.to_string());
        let words = format.words();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": words.manifest,
            "config": described(words.config, &config),
            "layers": [described(words.layer, &layer)],
        });
        Self {
            blobs: vec![config, layer],
            manifest: Manifest {
                media_type: words.manifest,
                bytes: manifest.to_string().into(),
            },
        }
    }
}

impl Variants {
    /// Joins images for linux/amd64, each with the features that it needs.
    pub fn join(format: Format, images: Vec<(Image, &[&str])>) -> Self {
        let words = format.words();
        let entries: Vec<Value> = images.iter().map(|(i, f)| entry(words, i, f)).collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": words.index,
            "manifests": entries,
        });
        Self {
            images: images.into_iter().map(|(image, _)| image).collect(),
            index: Manifest {
                media_type: words.index,
                bytes: index.to_string().into(),
            },
        }
    }
}

fn entry(words: &Words, image: &Image, features: &[&str]) -> Value {
    let mut entry = described(words.manifest, &image.manifest.bytes);
    entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
    if !features.is_empty() {
        entry["platform"]["features"] = json!(features);
    }
    entry
}

fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes)})
}

fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, name, *bytes)
            .expect("memory takes all");
    }
    archive.into_inner().expect("memory takes all")
}

fn gzipped(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all").into()
}

/// The media types of one format.
#[derive(Debug)]
struct Words {
    index: &'static str,
    manifest: &'static str,
    config: &'static str,
    layer: &'static str,
}

impl Format {
    fn words(self) -> &'static Words {
        match self {
            Self::Docker => &Words {
                index: "application/vnd.docker.distribution.manifest.list.v2+json",
                manifest: "application/vnd.docker.distribution.manifest.v2+json",
                config: "application/vnd.docker.container.image.v1+json",
                layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
            },
            Self::Oci => &Words {
                index: "application/vnd.oci.image.index.v1+json",
                manifest: "application/vnd.oci.image.manifest.v1+json",
                config: "application/vnd.oci.image.config.v1+json",
                layer: "application/vnd.oci.image.layer.v1.tar+gzip",
            },
        }
    }
}
