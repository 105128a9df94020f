//! The digest of content, as registries name it.

use aws_lc_rs::digest::{Context, SHA256};

/// `sha256:` and 64 hexadecimal digits (OCI image-spec, descriptor.md).
pub fn sha256(content: &[u8]) -> String {
    sha256_of([content])
}

/// The same for content that comes in parts.
pub fn sha256_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let hash = context.finish();
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
