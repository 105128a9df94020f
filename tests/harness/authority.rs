//! A certificate authority of the test's own, which no system trusts.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// An authority, and what it signs with.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate, and its key.
#[derive(Debug)]
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Python requires these.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.self_signed(&key).expect("the parameters are good");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// Its certificate, as PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for `host`, a name or an address.
    pub fn identity(&self, host: &str) -> Identity {
        self.identity_of(&[host])
    }

    /// A certificate for `host` that expires in `days` days, or that expired so
    /// many days ago.
    pub fn identity_for_days(&self, host: &str, days: i64) -> Identity {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        let day = Duration::from_secs(24 * 60 * 60);
        let (now, span) = (SystemTime::now(), day * days.unsigned_abs() as u32);
        params.not_before = (now - day * 30).into();
        params.not_after = if days < 0 { now - span } else { now + span }.into();
        self.issue(params)
    }

    /// A certificate for several hosts.
    pub fn identity_of(&self, hosts: &[&str]) -> Identity {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.issue(CertificateParams::new(hosts).expect("hosts"))
    }

    /// A client certificate with the common name `name`.
    pub fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Identity {
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.signed_by(&key, &self.issuer);
        Identity {
            certificate: certificate.expect("the parameters are good"),
            key,
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// The certificate, as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, as PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes certificate and key to files in `dir`. Each write is atomic.
    pub fn write(&self, dir: &Path, certificate: &str, key: &str) {
        for (name, pem) in [(certificate, self.certificate_pem()), (key, self.key_pem())] {
            let next = dir.join(format!("{name}.next"));
            fs::write(&next, pem)
                .and_then(|()| fs::rename(next, dir.join(name)))
                .expect("files can be written");
        }
    }

    /// What a TLS server needs of it.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_of(&[])
    }

    /// The same, for a server that offers these protocols, the first by choice.
    pub fn server_of(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let chain = vec![CertificateDer::clone(self.certificate.der())];
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.expect("the key is the certificate's");
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().into()).collect();
        Arc::new(config)
    }
}
