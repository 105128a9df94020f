//! What checks of ID tokens promise, without an issuer. With one:
//! `tests/e2e/oidc.rs`.
