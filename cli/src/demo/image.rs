//! The images of `qnib/bench`: one name, four variants for four kinds of hosts.
//!
//! Deterministic: the same bytes and digests at each call.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::{digest::sha256, elf};

/// The name of the image.
pub const REPOSITORY: &str = "qnib/bench";
/// The features that the four variants need.
pub const VARIANTS: [&[&str]; 4] = [
    &[],
    &["cpu:skylake"],
    &["cpu:broadwell"],
    &["cpu:broadwell", "nvcap:5.2"],
];
const PROGRAM: &str = "optimised";

/// The two forms that registries serve images in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A docker manifest list and docker manifests, version 2 schema 2.
    Docker,
    /// An OCI image index and OCI manifests.
    Oci,
}

/// One variant: an image FROM scratch with one program in one layer.
#[derive(Clone, Debug)]
pub struct Image {
    /// The features that it needs, joined by commas, or `generic`.
    pub variant: String,
    /// What its program prints, newline included.
    pub message: String,
    /// Its manifest.
    pub manifest: Content,
    /// Its configuration.
    pub config: Content,
    /// Its layer, a gzipped tar.
    pub layer: Content,
}

/// An image index with its images.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// The index or manifest list.
    pub index: Content,
    /// Its images, in its order.
    pub images: Vec<Image>,
}

/// Bytes with their media type and digest.
#[derive(Clone, Debug)]
pub struct Content {
    /// The media type.
    pub media_type: &'static str,
    /// The SHA-256 digest.
    pub digest: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Form {
    fn index_type(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::Oci => "application/vnd.oci.image.index.v1+json",
        }
    }

    fn manifest_type(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    fn config_type(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.container.image.v1+json",
            Self::Oci => "application/vnd.oci.image.config.v1+json",
        }
    }

    fn layer_type(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

impl ImageSet {
    /// The four variants of `qnib/bench`.
    ///
    /// # Errors
    ///
    /// Fails when a layer cannot be written, which memory never refuses.
    pub fn bench(form: Form) -> io::Result<Self> {
        Self::new(form, &VARIANTS)
    }

    /// One image for each list of features, all for linux/amd64.
    ///
    /// # Errors
    ///
    /// As [`ImageSet::bench`].
    pub fn new(form: Form, variants: &[&[&str]]) -> io::Result<Self> {
        let images: Vec<_> = variants
            .iter()
            .map(|features| Image::new(form, features))
            .collect::<io::Result<_>>()?;
        let entries: Vec<_> = variants
            .iter()
            .zip(&images)
            .map(|(features, image)| entry(image, features))
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": form.index_type(),
            "manifests": entries,
        });
        let index = Content::json(form.index_type(), &index);
        Ok(Self { index, images })
    }

    /// The image whose manifest has this digest.
    pub fn image(&self, digest: &str) -> Option<&Image> {
        self.images
            .iter()
            .find(|image| image.manifest.digest == digest)
    }
}

impl Image {
    fn new(form: Form, features: &[&str]) -> io::Result<Self> {
        let variant = match features {
            [] => "generic".to_owned(),
            features => features.join(","),
        };
        let message = format!(">> This container is optimised for: {variant}\n");
        let tar = tar(&elf::printing(&message))?;
        let layer = Content::new(form.layer_type(), gzip(&tar)?);
        let config = Content::json(form.config_type(), &config(&variant, &sha256(&tar)));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": form.manifest_type(),
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        Ok(Self {
            variant,
            message,
            manifest: Content::json(form.manifest_type(), &manifest),
            config,
            layer,
        })
    }
}

impl Content {
    /// Takes bytes of a media type.
    pub fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type,
            digest: sha256(&bytes),
            bytes,
        }
    }

    fn json(media_type: &'static str, value: &Value) -> Self {
        Self::new(media_type, value.to_string())
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "size": self.bytes.len(), "digest": self.digest})
    }
}

fn entry(image: &Image, features: &[&str]) -> Value {
    let mut platform = json!({"architecture": "amd64", "os": "linux"});
    if !features.is_empty() {
        platform["features"] = json!(features);
    }
    let mut entry = image.manifest.descriptor();
    entry["platform"] = platform;
    entry
}

fn config(variant: &str, diff_id: &str) -> Value {
    const CREATED: &str = "2026-01-01T00:00:00Z";
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {"Cmd": [format!("/{PROGRAM}")], "Labels": {"variant": variant}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": "metahubctl demo"}],
    })
}

fn tar(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(PROGRAM)?;
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, program)?;
    builder.into_inner()
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder.write_all(content)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn each_layer_unpacks_to_the_diff_id_of_its_config() {
        for image in ImageSet::bench(Form::Oci).unwrap().images {
            let mut tar = Vec::new();
            GzDecoder::new(&image.layer.bytes[..])
                .read_to_end(&mut tar)
                .unwrap();

            let config: Value = serde_json::from_slice(&image.config.bytes).unwrap();

            assert_eq!(config["rootfs"]["diff_ids"][0], sha256(&tar));
        }
    }

    #[test]
    fn a_layer_holds_one_program_that_can_be_run() {
        let image = &ImageSet::bench(Form::Docker).unwrap().images[3];
        let mut archive = tar::Archive::new(GzDecoder::new(&image.layer.bytes[..]));

        let mut entries = archive.entries().unwrap().map(Result::unwrap);

        let mut program = entries.next().unwrap();
        let mut bytes = Vec::new();
        program.read_to_end(&mut bytes).unwrap();
        assert_eq!(program.header().mode().unwrap(), 0o755);
        assert_eq!(
            bytes,
            elf::printing(">> This container is optimised for: cpu:broadwell,nvcap:5.2\n")
        );
    }

    #[test]
    fn the_generic_variant_asks_for_nothing() {
        let set = ImageSet::bench(Form::Docker).unwrap();
        let index: Value = serde_json::from_slice(&set.index.bytes).unwrap();

        assert_eq!(set.images[0].variant, "generic");
        assert_eq!(index["manifests"][0]["platform"].get("features"), None);
        assert_eq!(
            index["manifests"][0]["digest"],
            set.images[0].manifest.digest
        );
    }

    #[test]
    fn the_bytes_are_the_same_at_each_call() {
        let digest = || ImageSet::bench(Form::Docker).unwrap().index.digest;

        assert_eq!(digest(), digest());
    }
}
