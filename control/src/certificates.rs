//! Certificates of authorities, as PEM (RFC 7468): looked at once at the edge,
//! so that no worker gets what it cannot use.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{Error, Result};

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
