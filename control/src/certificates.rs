//! Certificates of authorities and of clients, as PEM (RFC 7468): looked at
//! once at the edge, so that no worker gets what it cannot use.

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio_rustls::rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::{Error, Result, records::ClientCertificate};

/// The longest bundle, in bytes.
const LONGEST: usize = 64 << 10;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// What each certificate's DER starts with: a sequence.
const SEQUENCE: u8 = 0x30;

/// Checks that `pem` holds certificates, at least one, and no key. Whether they
/// are good for anything shows when they are used.
pub(crate) fn check(field: &str, pem: &str) -> Result<()> {
    let reason = if pem.len() > LONGEST {
        "is longer than 64 KiB"
    } else if pem.contains("PRIVATE KEY") {
        "holds a private key: leave it out, it was never needed"
    } else if !holds_certificates(pem) {
        "holds no certificate, or a broken one: it starts with `-----BEGIN CERTIFICATE-----`"
    } else {
        return Ok(());
    };
    Err(Error::invalid(field, reason))
}

/// Checks that a client's certificate and its key can be used, and belong
/// together. An empty key is one to be filled in.
pub(crate) fn check_pair(client: &ClientCertificate) -> Result<()> {
    check("client_cert_pem", &client.cert_pem)?;
    let key = client.key_pem.expose();
    if key.is_empty() {
        return Ok(());
    }
    let wrong = |reason: &str| Error::invalid("client_key_pem", reason);
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(client.cert_pem.as_bytes()).collect();
    let chain = chain.map_err(|_| Error::invalid("client_cert_pem", "is not PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
        wrong("holds no private key without a passphrase: it starts with `-----BEGIN PRIVATE KEY-----`")
    })?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .map(drop)
        .map_err(|_| wrong("does not belong to the client certificate, or is of an unknown kind"))
}

fn holds_certificates(pem: &str) -> bool {
    let mut blocks = pem.split(BEGIN).skip(1).peekable();
    blocks.peek().is_some() && blocks.all(is_certificate)
}

fn is_certificate(block: &str) -> bool {
    let Some((text, _)) = block.split_once(END) else {
        return false;
    };
    let text: String = text.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(text).unwrap_or_default();
    der.len() > 2 && der[0] == SEQUENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_bundle_with_comments_is_taken() {
        let bundle = format!("# ours\n{GOOD}\n# theirs\r\n{}", GOOD.replace('\n', "\r\n"));

        assert!(check("ca_pem", &bundle).is_ok());
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let key = format!("{GOOD}-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
        for pem in [
            "",
            "hello",
            &GOOD.replace("END", "ENDE"),
            &GOOD.replace("MIIB", "M#IB"),
            &format!("{GOOD}{BEGIN}"),
            &key,
            &GOOD.repeat(2_000),
        ] {
            assert!(check("ca_pem", pem).is_err(), "{}", pem.len());
        }
    }
}
