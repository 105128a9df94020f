//! Makes secrets, and what is kept of them.
//!
//! A login's secret is 256 random bits, so a plain SHA-256 of it is safe to
//! keep. A password is a person's choice, so argon2id is kept.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{Error, Result, Secret};

/// 256 random bits, base64url: 43 characters.
pub(crate) fn generate() -> Secret {
    Secret::from(URL_SAFE_NO_PAD.encode(random::<32>()))
}

/// The bytes of a secret from [`generate`]. None: it is none of these.
pub(crate) fn bytes(secret: &Secret) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(secret.expose()).ok()
}

/// A random number, from the same source as secrets.
pub(crate) fn random_u64() -> u64 {
    u64::from_le_bytes(random())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// SHA-256 of a secret, in lower-case hex.
pub(crate) fn sha256_hex(secret: &Secret) -> Secret {
    let hash = sha256(secret.expose());
    Secret::from(hash.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// Whether two secrets are equal, in a time that tells nothing about them.
pub(crate) fn are_equal(one: &str, other: &str) -> bool {
    sha256(one).ct_eq(&sha256(other)).into()
}

/// argon2id of a password, as a PHC string. Takes some 20 ms: call it where
/// blocking is allowed.
pub(crate) fn hash_password(password: &Secret) -> Result<Secret> {
    Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map(|hash| Secret::from(hash.to_string()))
        .map_err(|_| Error::invalid("password", "cannot be hashed; use a shorter one"))
}

/// Whether `hash` is one of `password`. As slow as [`hash_password`].
pub(crate) fn password_matches(password: &Secret, hash: &Secret) -> bool {
    PasswordHash::new(hash.expose()).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.expose().as_bytes(), &hash)
            .is_ok()
    })
}

/// Whether `hash` is what [`hash_password`] makes.
pub(crate) fn is_password_hash(hash: &Secret) -> bool {
    hash.expose().starts_with("$argon2") && PasswordHash::new(hash.expose()).is_ok()
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generated_secrets_differ_and_are_long() {
        let (one, other) = (generate(), generate());

        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 43);
    }

    #[test]
    fn a_generated_secret_is_32_bytes() {
        assert_eq!(bytes(&generate()).map(|it| it.len()), Some(32));
        assert_eq!(bytes(&Secret::from("?".to_owned())), None);
    }

    #[test]
    fn a_secret_hashes_as_sha256_says() {
        let hash = sha256_hex(&Secret::from("abc".to_owned()));

        assert_eq!(
            hash.expose(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hash_password(&Secret::from("right".to_owned())).unwrap();

        assert!(hash.expose().starts_with("$argon2id$"));
        assert!(password_matches(&Secret::from("right".to_owned()), &hash));
        assert!(!password_matches(&Secret::from("wrong".to_owned()), &hash));
    }
}
