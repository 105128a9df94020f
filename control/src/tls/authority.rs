//! The control plane's own authority, and the certificates that it makes.
//!
//! One that has taken the place of another shows, beside its own certificate,
//! one that the former has signed. Whoever trusts either trusts what it makes.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{fingerprint, worker::WorkerCertificate};
use crate::{Error, Result, records, secrets};

/// For how long the authority's own certificate is good.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY);
/// For how long a certificate of the port is good.
pub(super) const SERVER_LIFETIME: Duration = Duration::from_secs(7 * DAY);
/// How much earlier certificates are good than they were made: clocks differ,
/// and jump. New keys have no past to protect.
const EARLIER: Duration = SERVER_LIFETIME;
const DAY: u64 = 24 * 60 * 60;

/// Signs certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
    former: Option<Former>,
}

/// The authority before, which is still trusted.
#[derive(Debug)]
struct Former {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    /// The newest one's certificate as this one has signed it.
    vouching: CertificateDer<'static>,
}

/// A worker's certificate as it is handed out.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) certificate_pem: String,
    pub(crate) expires: SystemTime,
    /// The fingerprint of the authority that it is from.
    pub(crate) authority: String,
    /// The fingerprint of the request for it.
    pub(crate) request: String,
}

impl Authority {
    /// Makes the record of a new one.
    pub(crate) fn make(now: SystemTime) -> Result<records::Authority, rcgen::Error> {
        let key = KeyPair::generate()?;
        Ok(records::Authority {
            certificate_pem: authority_params(now).self_signed(&key)?.pem(),
            key_pem: key.serialize_pem().into(),
            former: None,
        })
    }

    /// Makes the record of one that takes the place of this one, and for which
    /// this one vouches.
    pub(crate) fn successor(&self, now: SystemTime) -> Result<records::Authority, rcgen::Error> {
        let key = KeyPair::generate()?;
        let params = authority_params(now);
        Ok(records::Authority {
            certificate_pem: params.self_signed(&key)?.pem(),
            key_pem: key.serialize_pem().into(),
            former: Some(records::FormerAuthority {
                certificate_pem: self.certificate_pem.clone(),
                vouching_pem: params.signed_by(&key, &self.issuer)?.pem(),
            }),
        })
    }

    /// The one that `record` keeps.
    pub(crate) fn of(record: &records::Authority) -> anyhow::Result<Self> {
        let certificate_pem = record.certificate_pem.clone();
        let certificate = certificate(&certificate_pem)?;
        let key = KeyPair::from_pem(record.key_pem.expose());
        let key = key.context("its key cannot be read")?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key);
        Ok(Self {
            issuer: issuer.context("its certificate cannot be read")?,
            fingerprint: fingerprint(&certificate),
            former: record.former.as_ref().map(Former::of).transpose()?,
            certificate,
            certificate_pem,
        })
    }

    /// What its own certificate is known by.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What the former one is known by, while it is trusted.
    pub(crate) fn former_fingerprint(&self) -> Option<String> {
        let former = self.former.as_ref();
        former.map(|former| fingerprint(&former.certificate))
    }

    /// The certificates of all that are trusted, its own first.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let former = self.former.as_ref().map(|former| &former.certificate);
        std::iter::once(&self.certificate).chain(former)
    }

    /// The same as PEM, for those who are to trust them.
    pub(super) fn trusted_pem(&self) -> String {
        let former = self.former.as_ref();
        let former = former.map_or("", |former| &former.certificate_pem);
        format!("{}{former}", self.certificate_pem)
    }

    /// A certificate for the port, with a new key. The authority's own is at
    /// the end of its chain, so that callers can pin that; who pins the former
    /// one gets there by way of what that has signed.
    pub(super) fn server_certificate(
        &self,
        names: &[String],
        now: SystemTime,
    ) -> anyhow::Result<CertifiedKey> {
        let key = KeyPair::generate()?;
        let mut params = params("MetaHub control plane", now, SERVER_LIFETIME);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signed = params.signed_by(&key, &self.issuer)?;
        let mut chain = vec![signed.into()];
        if let Some(former) = &self.former {
            chain.extend([former.vouching.clone(), former.certificate.clone()]);
        }
        chain.push(self.certificate.clone());
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(CertifiedKey::from_der(
            chain,
            key.into(),
            &aws_lc_rs::default_provider(),
        )?)
    }

    /// A certificate for the worker that has made `request`. Only the key is
    /// taken from that.
    pub(crate) fn worker_certificate(
        &self,
        request: &[u8],
        worker: &WorkerCertificate,
        lifetime: Duration,
    ) -> Result<Issued> {
        let broken = |error: rcgen::Error| Error::invalid("request", error.to_string());
        let fingerprint = fingerprint(request);
        let request = CertificateSigningRequestDer::from(request);
        let mut request = CertificateSigningRequestParams::from_der(&request).map_err(broken)?;
        let now = SystemTime::now();
        let mut params = params("MetaHub worker", now, lifetime);
        for name in worker.names() {
            let name = name.as_str().try_into().map_err(broken)?;
            params.subject_alt_names.push(SanType::URI(name));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(broken)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            expires: now + lifetime,
            authority: self.fingerprint.clone(),
            request: fingerprint,
        })
    }
}

impl Former {
    fn of(record: &records::FormerAuthority) -> anyhow::Result<Self> {
        Ok(Self {
            certificate: certificate(&record.certificate_pem)?,
            certificate_pem: record.certificate_pem.clone(),
            vouching: certificate(&record.vouching_pem)?,
        })
    }
}

fn certificate(pem: &str) -> anyhow::Result<CertificateDer<'static>> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    certificate.context("its certificate cannot be read")
}

fn authority_params(now: SystemTime) -> CertificateParams {
    // Two authorities never share a name.
    let name = format!("MetaHub {:016x}", secrets::random_u64());
    let mut params = params(&name, now, LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(name: &str, now: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + lifetime).into();
    params.serial_number = Some(SerialNumber::from(secrets::random_u64() >> 1));
    params.use_authority_key_identifier_extension = true;
    params
}
