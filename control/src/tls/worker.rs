//! Who a worker's certificate says it is.
//!
//! A certificate of the own authority names the worker, and its membership:
//! what all its certificates have in common since it joined. A certificate of
//! the operator's own PKI names the worker alone, in the same way or as its
//! first DNS name.

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::Authority;
use crate::{Error, Result};

const ID: &str = "urn:metahub:worker:";
const MEMBERSHIP: &str = "urn:metahub:membership:";
const UNREADABLE: &str = "the certificate names no worker: give it the URI name \
     `urn:metahub:worker:ID`, or a DNS name";

/// What a verified certificate tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerCertificate {
    pub(crate) id: String,
    /// `None`: it is of the operator's own PKI.
    pub(crate) membership: Option<String>,
}

impl WorkerCertificate {
    /// Reads a certificate that the handshake has verified.
    pub(crate) fn read(certificate: &CertificateDer<'_>, own: &Authority) -> Result<Self> {
        let unreadable = Error::Unauthenticated {
            reason: UNREADABLE.into(),
        };
        let Ok(parsed) = EndEntityCert::try_from(certificate) else {
            return Err(unreadable);
        };
        let is_own = own.trusted().any(|own| {
            let own = EndEntityCert::try_from(own);
            own.is_ok_and(|own| own.subject() == parsed.issuer())
        });
        let uri = |start: &str| {
            let mut uris = parsed.valid_uri_names();
            uris.find_map(|uri| uri.strip_prefix(start).map(str::to_owned))
        };
        let id = uri(ID).and_then(|id| decode(&id));
        let (id, membership) = match is_own {
            true => (id, Some(uri(MEMBERSHIP).unwrap_or_default())),
            // It has a membership if an own authority made it that was retired
            // since: the connection is older.
            false => {
                let dns = || parsed.valid_dns_names().next().map(str::to_owned);
                (id.or_else(dns), uri(MEMBERSHIP))
            }
        };
        let id = id.ok_or(unreadable)?;
        Ok(Self { id, membership })
    }

    /// What a certificate of the own authority says, as URIs.
    pub(super) fn names(&self) -> Vec<String> {
        let membership = self.membership.as_deref().unwrap_or_default();
        vec![
            format!("{ID}{}", encode(&self.id)),
            format!("{MEMBERSHIP}{membership}"),
        ]
    }
}

/// Percent-encodes what a URN (RFC 8141) does not hold as it is.
fn encode(id: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    id.bytes().map(byte).collect()
}

/// Undoes [`encode`]. `None`: that has not made it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_uri() {
        for id in ["worker-0", "host/127.0.0.1:7480", "a b%ü"] {
            assert_eq!(decode(&encode(id)).as_deref(), Some(id));
        }
    }
}
