//! Whom to take for the control plane.
//!
//! Its certificate must be good for the name that it is called by, and come
//! from an authority that is known: by its certificate, or by the fingerprint
//! of that alone. Nothing else is ever trusted, the system's authorities
//! included.

use std::{
    fmt,
    path::Path,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tonic::transport::{ClientTlsConfig, Endpoint, Identity};
use webpki::EndEntityCert;

/// The SHA-256 of an authority's certificate: `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is not a [`Fingerprint`].
#[derive(Debug, thiserror::Error)]
#[error("write it as the control plane's log shows it: `sha256:` and 64 hex digits")]
pub struct InvalidFingerprint;

/// Whom to trust.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The authority with this fingerprint.
    Fingerprint(Fingerprint),
    /// These authorities.
    Authorities(Arc<RootCertStore>),
}

/// The authority that takes the place of a trusted one, once a connection has
/// shown it. The trusted one vouches for it.
#[derive(Clone, Debug, Default)]
pub struct Successor(Arc<OnceLock<Fingerprint>>);

/// Why no one can be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A file cannot be read.
    #[error("cannot read certificates from {path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// No one has shown a certificate.
    #[error("the control plane shows no certificate")]
    Unseen,
    /// TLS cannot be set up.
    #[error("cannot set up TLS to the control plane")]
    Endpoint(#[from] tonic::transport::Error),
    /// The authorities cannot be used.
    #[error("cannot use the certificates of the authorities")]
    Authorities(#[from] tokio_rustls::rustls::client::VerifierBuilderError),
}

/// The control plane's chain has no certificate with the wanted fingerprint.
#[derive(thiserror::Error)]
#[error("its certificate is rooted in {seen}, and {wanted} was expected")]
struct Stranger {
    seen: Fingerprint,
    wanted: Fingerprint,
}

impl Trust {
    /// The authorities in a PEM file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or holds no certificate.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let failed = |reason: String| TrustError::File {
            path: path.display().to_string(),
            reason,
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path);
        for certificate in certificates.map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| failed(error.to_string()))?;
        }
        match roots.is_empty() {
            true => Err(failed("there is none".into())),
            false => Ok(Self::Authorities(Arc::new(roots))),
        }
    }

    /// Has `endpoint` take no one else for the control plane, and show
    /// `identity` to it.
    ///
    /// # Errors
    ///
    /// Fails if the identity or an authority cannot be used.
    pub fn secure(
        &self,
        endpoint: Endpoint,
        identity: Option<Identity>,
    ) -> Result<Endpoint, TrustError> {
        self.secure_noting(endpoint, identity, &Successor::default())
    }

    /// The same, and notes in `successor` who takes the place of the authority
    /// that is trusted by its fingerprint.
    ///
    /// # Errors
    ///
    /// Fails if the identity or an authority cannot be used.
    pub fn secure_noting(
        &self,
        endpoint: Endpoint,
        identity: Option<Identity>,
        successor: &Successor,
    ) -> Result<Endpoint, TrustError> {
        let provider = Arc::new(default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Fingerprint(wanted) => Arc::new(Pinned {
                wanted: *wanted,
                successor: successor.clone(),
                provider,
            }),
            Self::Authorities(roots) => {
                WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build()?
            }
        };
        secure(endpoint, identity, verifier)
    }
}

/// The fingerprint of what the certificate of the control plane at `endpoint`
/// is rooted in, for a person to say whether it is right. Nothing is sent.
///
/// # Errors
///
/// Fails with what went wrong if no one presents a certificate there.
pub async fn look(endpoint: Endpoint) -> Result<Fingerprint, TrustError> {
    let witness = Arc::new(Witness(OnceLock::new(), default_provider()));
    let refused = secure(endpoint, None, witness.clone())?.connect().await;
    match (witness.0.get(), refused) {
        (Some(seen), _) => Ok(*seen),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(TrustError::Unseen),
    }
}

fn secure(
    endpoint: Endpoint,
    identity: Option<Identity>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Endpoint, TrustError> {
    let mut config = ClientTlsConfig::new();
    if let Some(identity) = identity {
        config = config.identity(identity);
    }
    Ok(endpoint.tls_config_with_verifier(config, verifier)?)
}

impl Successor {
    /// Who it is. Ask once the connection stands: what was shown before is not
    /// proved. `None`: no one takes its place.
    pub fn get(&self) -> Option<Fingerprint> {
        self.0.get().copied()
    }
}

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(hash)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let digits: Option<Vec<u8>> = hex
            .chars()
            .map(|it| it.to_digit(16).and_then(|it| u8::try_from(it).ok()))
            .collect();
        let bytes: Vec<u8> = digits
            .filter(|digits| digits.len() == 64)
            .ok_or(InvalidFingerprint)?
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// TLS shows an error of ours in this way alone.
impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Trusts one authority that the control plane itself brings along, which is
/// told by its fingerprint. All else is verified as ever.
#[derive(Debug)]
struct Pinned {
    wanted: Fingerprint,
    successor: Successor,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain = intermediates.iter().chain([end_entity]);
        let anchor = chain.find(|it| Fingerprint::of(it) == self.wanted);
        let anchor = anchor.ok_or_else(|| {
            refusal(Stranger {
                seen: Fingerprint::of(intermediates.last().unwrap_or(end_entity)),
                wanted: self.wanted,
            })
        })?;
        let verify = |anchor| {
            self.rooted_in(anchor)?.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        };
        let verified = verify(anchor)?;
        // Both are authorities of their own, and the same certificate is from
        // either: who made it has a certificate of the one that is trusted.
        if let Some(last) = intermediates.last()
            && last != anchor
            && is_authority(anchor)
            && is_authority(last)
            && verify(last).is_ok()
        {
            let _ = self.successor.0.set(Fingerprint::of(last));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl Pinned {
    /// Trusts what `anchor` vouches for.
    fn rooted_in(&self, anchor: &CertificateDer<'_>) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }
}

/// Whether a certificate is an authority's own, which no other has signed.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let certificate = EndEntityCert::try_from(certificate);
    certificate.is_ok_and(|it| it.issuer() == it.subject())
}

/// Trusts no one, and notes who was there.
#[derive(Debug)]
struct Witness(OnceLock<Fingerprint>, CryptoProvider);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let anchor = intermediates.last().unwrap_or(end_entity);
        let _ = self.0.set(Fingerprint::of(anchor));
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_as_it_was_written() {
        let shown = format!("sha256:{}", "0a".repeat(32));

        let read: Fingerprint = shown.parse().unwrap();

        assert_eq!(read.to_string(), shown);
        assert_eq!("0A".repeat(32).parse::<Fingerprint>().unwrap(), read);
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for text in [
            "",
            "sha256:",
            "sha256:0a",
            &"0g".repeat(32),
            &"é".repeat(32),
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text} was taken");
        }
    }
}
