//! A PKI of one's own.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// An authority that MetaHub has not made.
pub(super) struct Pki(CertifiedIssuer<'static, KeyPair>);

impl Pki {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Writes the authority's certificate.
    pub(super) fn write_authority(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).expect("it can be written");
    }

    /// Writes a certificate for `name` with its chain, and its key, over what
    /// is there.
    pub(super) fn write(&self, name: &str, dir: &Path) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let paths = ["certificate.pem", "key.pem"].map(|file| dir.join(file));
        let chain = certificate.pem() + &self.0.pem();
        std::fs::write(&paths[1], key.serialize_pem()).expect("it can be written");
        std::fs::write(&paths[0], chain).expect("it can be written");
        paths
    }
}
