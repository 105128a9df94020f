//! Client certificates as logins: the login that a certificate names.
//!
//! The handshake has verified the certificate. The URI `urn:metahub:login:NAME`
//! names the login or, without one, the common name of the subject. Each
//! request looks up that login.

use std::fmt;

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The prefix of the URI that names a login.
const LOGIN: &str = "urn:metahub:login:";
/// The maximum length of a name, in bytes.
const MAX_NAME: usize = 512;
/// The DER tags (X.690) in a subject.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The DER tags of UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// The object identifier of a common name: 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The login name in a verified client certificate, kept in the extensions of
/// the requests of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate(Result<Box<str>, Nameless>);

/// The reason that a certificate names no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nameless {
    /// There is no name, or none in the grammar of logins.
    None,
    /// There are several names.
    Several,
}

impl ClientCertificate {
    /// Reads a verified certificate.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return Self(Err(Nameless::None));
        };
        let uris = certificate.valid_uri_names();
        let mut uris = uris.filter_map(|uri| uri.strip_prefix(LOGIN)).peekable();
        let named = match uris.peek() {
            Some(_) => only(uris),
            None => only(common_names(certificate.subject())),
        };
        Self(named.map(Box::from))
    }

    /// The name of the login, with selectors if there are any.
    pub(super) fn login(&self) -> Result<&str, Nameless> {
        self.0.as_deref().map_err(|nameless| *nameless)
    }

    #[cfg(test)]
    pub(crate) fn naming(name: &str) -> Self {
        Self(only(Some(name).into_iter()).map(Box::from))
    }
}

impl fmt::Display for Nameless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no login",
            Self::Several => "several logins",
        })
    }
}

/// The only name of `names`, if it is in the grammar of logins.
fn only<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<&'a str, Nameless> {
    let name = names.next().ok_or(Nameless::None)?;
    if names.next().is_some() {
        return Err(Nameless::Several);
    }
    let is_good = |byte: u8| byte.is_ascii_graphic();
    match (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_good) {
        true => Ok(name),
        false => Err(Nameless::None),
    }
}

/// The common names in a subject: a sequence of sets of attributes (RFC 5280,
/// section 4.1.2.4), without its own tag.
fn common_names(subject: &[u8]) -> impl Iterator<Item = &str> {
    let sets = Elements(subject).filter(|(tag, _)| *tag == SET);
    let attributes = sets.flat_map(|(_, set)| Elements(set));
    let attributes = attributes.filter(|(tag, _)| *tag == SEQUENCE);
    attributes.filter_map(|(_, attribute)| {
        let mut parts = Elements(attribute);
        if parts.next()? != (OBJECT_IDENTIFIER, &COMMON_NAME[..]) {
            return None;
        }
        let (tag, value) = parts.next()?;
        // An unreadable text counts as a name, too: as one outside the grammar
        // of logins.
        let text = std::str::from_utf8(value).ok();
        Some(text.filter(|_| TEXTS.contains(&tag)).unwrap_or_default())
    })
}

/// The elements of a constructed DER value: tags and contents. Ends at the
/// first malformed element.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn read(common_names: &[&str], uris: &[&str]) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "qnib");
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = uris.collect();
        let key = KeyPair::generate().unwrap();
        ClientCertificate::read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_names_a_login_by_its_uri_or_else_by_its_common_name() {
        let long = format!("qnib-{}~node-17", "t".repeat(64));
        let uri = format!("urn:metahub:login:{long}");
        for (common_names, uris, login) in [
            (&["qnib-type1"][..], &[][..], Ok("qnib-type1")),
            (&["qnib-type1~h17"], &[], Ok("qnib-type1~h17")),
            (&["node17"], &[uri.as_str()], Ok(long.as_str())),
            (&["qnib-type1"], &["spiffe://a/b"], Ok("qnib-type1")),
            (&[], &[], Err(Nameless::None)),
            (&["qnib type1"], &[], Err(Nameless::None)),
            (&["qnib-type1\n"], &[], Err(Nameless::None)),
            (
                &["qnib-type1"],
                &["urn:metahub:login:a-b", "urn:metahub:login:a-c"],
                Err(Nameless::Several),
            ),
            (
                &["qnib-type1"],
                &["urn:metahub:login:"],
                Err(Nameless::None),
            ),
        ] {
            let certificate = read(common_names, uris);
            assert_eq!(certificate.login(), login, "{common_names:?} {uris:?}");
        }
    }

    #[test]
    fn a_subject_with_two_common_names_names_no_login() {
        let attribute = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a";

        let names = |subject: &[u8]| common_names(subject).map(str::to_owned).collect::<Vec<_>>();

        assert_eq!(names(attribute), ["a"]);
        assert_eq!(names(&attribute.repeat(2)), ["a", "a"]);
        assert_eq!(only(["a", "a"].into_iter()), Err(Nameless::Several));
    }

    proptest! {
        #[test]
        fn any_subject_is_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(common_names(&bytes).count() <= bytes.len());
            ClientCertificate::read(&CertificateDer::from(bytes));
        }
    }
}
