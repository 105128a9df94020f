//! An image that takes a while to pull.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use metahub_cli::demo::{
    digest::sha256,
    image::{Content, Image},
};
use serde_json::json;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// An image for linux/amd64 of one layer of `mebibytes`, which does not
/// compress. It cannot be run.
pub fn large(mebibytes: usize) -> Image {
    let tar = tar(&noise(mebibytes << 20));
    let layer = Content::new(LAYER, gzip(&tar));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/noise"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&tar)]},
    });
    let config = Content::new(CONFIG, config.to_string());
    let described =
        |c: &Content| json!({"mediaType": c.media_type, "size": c.bytes.len(), "digest": c.digest});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(&config),
        "layers": [described(&layer)],
    });
    Image {
        variant: "large".into(),
        message: String::new(),
        manifest: Content::new(MANIFEST, manifest.to_string()),
        config,
        layer,
    }
}

/// Bytes that look random and are the same at each call (xorshift).
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(bytes / 8).flatten().collect()
}

fn tar(content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, "noise", content)
        .expect("memory takes all");
    archive.into_inner().expect("memory takes all")
}

/// Gzip that stores: what does not compress is not worth the time.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
