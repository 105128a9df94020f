//! Digests as registries write them.

use aws_lc_rs::digest::{SHA256, digest};

/// The digest of `bytes`: `sha256:` and 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    let hex: String = sum.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}
