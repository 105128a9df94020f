//! Digests, made and compared.

use aws_lc_rs::digest::{Context, SHA256, SHA512};

use crate::reference::Digest;

/// Hashes bytes as they pass, to see whether they are what a digest promises.
#[derive(Clone)]
pub(crate) struct Hasher {
    promised: Digest,
    context: Context,
}

impl Hasher {
    /// Will compare with `promised`, by its algorithm.
    pub(crate) fn new(promised: Digest) -> Self {
        let algorithm = match promised.as_str().split_once(':') {
            Some(("sha512", _)) => &SHA512,
            _ => &SHA256,
        };
        Self {
            context: Context::new(algorithm),
            promised,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether the bytes so far are all that was promised.
    pub(crate) fn is_complete(&self) -> bool {
        let hash = self.context.clone().finish();
        let hex = self.promised.as_str().split_once(':').map(|(_, hex)| hex);
        hex.is_some_and(|hex| hex == hex_of(hash.as_ref()))
    }

    /// What was promised.
    pub(crate) fn promised(&self) -> &Digest {
        &self.promised
    }
}

/// Whether `bytes` hash to `digest`.
pub(crate) fn is_digest_of(digest: &Digest, bytes: &[u8]) -> bool {
    let mut hasher = Hasher::new(digest.clone());
    hasher.update(bytes);
    hasher.is_complete()
}

/// The SHA-256 digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let hash = aws_lc_rs::digest::digest(&SHA256, bytes);
    Digest::parse(&format!("sha256:{}", hex_of(hash.as_ref())))
        .expect("a SHA-256 in hexadecimal follows the grammar")
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hasher").field(&self.promised).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn both_algorithms_are_verified() {
        let sha512 = Digest::parse(EMPTY_SHA512).unwrap();

        assert!(is_digest_of(&sha256(b"abc"), b"abc"));
        assert!(is_digest_of(&sha512, b""));
        assert!(!is_digest_of(&sha512, b"abc"));
        assert!(!is_digest_of(&sha256(b"abc"), b"abcd"));
    }

    #[test]
    fn a_digest_looks_as_everyone_writes_it() {
        assert_eq!(
            sha256(b"").as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
