//! What client tokens are signed with: Ed25519 (RFC 8032), as the control plane
//! hands it to all workers.

use aws_lc_rs::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _},
};

/// A key that signs and checks tokens. Shows nothing of what is secret in it.
#[derive(Debug)]
pub(crate) struct SigningKey {
    /// Its name in tokens.
    pub(crate) id: String,
    /// When to begin to sign with it, in seconds since 1970.
    pub(crate) signs_from: u64,
    pair: Ed25519KeyPair,
    stamps: hmac::Key,
}

impl SigningKey {
    /// A key of 32 secret bytes. `None`: they are not.
    pub(crate) fn new(id: String, seed: &[u8], signs_from: u64) -> Option<Self> {
        let seed: &[u8; 32] = seed.try_into().ok()?;
        Some(Self {
            id,
            signs_from,
            pair: Ed25519KeyPair::from_seed_unchecked(seed).ok()?,
            stamps: hmac::Key::new(hmac::HMAC_SHA256, seed),
        })
    }

    /// The signature of `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.pair.try_sign(message).ok()?;
        Some(signature.as_ref().to_vec())
    }

    /// Whether `signature` is this key's, of `message`.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = self.pair.public_key().as_ref();
        aws_lc_rs::signature::UnparsedPublicKey::new(&ED25519, public)
            .verify(message, signature)
            .is_ok()
    }

    /// Stands for a login's secret in tokens, and tells nothing about it.
    pub(crate) fn stamp(&self, secret_sha256: &[u8; 32]) -> Vec<u8> {
        hmac::sign(&self.stamps, secret_sha256).as_ref().to_vec()
    }
}
