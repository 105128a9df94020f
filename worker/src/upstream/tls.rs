//! TLS to upstreams: certificates that are trusted beside those of the system's
//! authorities, and the certificate that the worker presents.

use std::{fmt, sync::Arc};

use reqwest::{ClientBuilder, Identity};
use rustls_native_certs::load_native_certs;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};
use webpki::EndEntityCert;

use super::dialer::{CannotDial, Judgement, Lane};

/// A certificate that the worker presents, with its chain and its key, as PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientIdentity {
    pub(crate) cert_pem: Arc<str>,
    pub(crate) key_pem: Arc<str>,
}

/// Why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateFault {
    /// No authority that is trusted has issued it, and it is not trusted itself.
    #[error(
        "no trusted authority has issued it: give the authority's certificate, or its own, with `--ca` of `metahubctl upstream create`"
    )]
    UnknownIssuer,
    /// It is for other names.
    #[error("it is not valid for this host name")]
    WrongName,
    /// It is too old.
    #[error("it has expired")]
    Expired,
    /// It is too new.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It is an authority's.
    #[error(
        "it is an authority's certificate: list it in `--ca` of `metahubctl upstream create`, or use one with CA:FALSE"
    )]
    Authority,
    /// Something else.
    #[error("it cannot be verified")]
    Other,
}

/// Has clients of `builder` verify servers by `judgement`, and present
/// `identity`.
pub(super) fn configured(
    builder: ClientBuilder,
    judgement: &Judgement,
    identity: Option<&ClientIdentity>,
    lane: Lane,
) -> Result<ClientBuilder, CannotDial> {
    let builder = match judgement {
        Judgement::Authorities(pem) => {
            let mut config = trusting(pem, identity)?;
            config.alpn_protocols = match lane {
                Lane::Shared => vec!["h2".into(), "http/1.1".into()],
                Lane::Own | Lane::Once => vec!["http/1.1".into()],
            };
            return Ok(builder.tls_backend_preconfigured(config));
        }
        Judgement::System => builder,
        Judgement::None => builder.tls_danger_accept_invalid_certs(true),
    };
    Ok(match identity {
        Some(ClientIdentity { cert_pem, key_pem }) => {
            let both = format!("{key_pem}\n{cert_pem}");
            builder.identity(Identity::from_pem(both.as_bytes())?)
        }
        None => builder,
    })
}

fn trusting(pem: &str, identity: Option<&ClientIdentity>) -> Result<ClientConfig, CannotDial> {
    let provider = Arc::new(default_provider());
    let listed = certificates(pem)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(load_native_certs().certs);
    for certificate in &listed {
        roots.add(certificate.clone())?;
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::Other(OtherError(Arc::new(error))))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Listed { inner, listed }));
    Ok(match identity {
        Some(ClientIdentity { cert_pem, key_pem }) => {
            let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?;
            config.with_client_auth_cert(certificates(cert_pem)?, key)?
        }
        None => config.with_no_client_auth(),
    })
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

/// Trusts what listed authorities and the system's have issued, and what is
/// itself listed.
#[derive(Debug)]
struct Listed {
    inner: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Listed {
    /// A certificate that is listed needs no issuer, and may be an authority's,
    /// as with OpenSSL and Go; its dates and names are verified. `webpki` looks
    /// at the dates first: an error about the issuer says that they are right.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(Error::InvalidCertificate(error))
                if is_about_issuer(&error) && self.listed.contains(end_entity) =>
            {
                let is_named = EndEntityCert::try_from(end_entity)
                    .is_ok_and(|it| it.verify_is_valid_for_subject_name(server_name).is_ok());
                match is_named {
                    true => Ok(ServerCertVerified::assertion()),
                    false => Err(CertificateError::NotValidForName.into()),
                }
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.inner;
        inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let inner = &self.inner;
        inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Also where a certificate that is trusted has the issuer's name, but not its
/// key.
fn is_about_issuer(error: &CertificateError) -> bool {
    *error == CertificateError::BadSignature
        || matches!(
            CertificateFault::from(error),
            CertificateFault::UnknownIssuer | CertificateFault::Authority
        )
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::UnknownIssuer => Self::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::WrongName,
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::Other(other) => match other.0.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::Authority,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// Not the key.
impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(***)")
    }
}
