//! The digest of content, as registries name it.

use aws_lc_rs::digest::{SHA256, digest};

/// `sha256:` and 64 hexadecimal digits (OCI image-spec, descriptor.md).
pub fn sha256(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        assert_eq!(
            sha256(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
