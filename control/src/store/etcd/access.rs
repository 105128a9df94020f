//! How etcd is reached where it is not open to all: certificates and a user.

use std::path::PathBuf;

/// What etcd asks for before it answers. Secrets are in files.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EtcdAccess {
    /// Certificates of the authorities that etcd's own are signed by, as PEM.
    /// Needed where its endpoints are `https`.
    #[arg(long, env = "METAHUB_ETCD_CA_FILE")]
    pub etcd_ca_file: Option<PathBuf>,

    /// The certificate to show to etcd, as PEM.
    #[arg(long, env = "METAHUB_ETCD_CERT_FILE", requires = "etcd_key_file")]
    pub etcd_cert_file: Option<PathBuf>,

    /// The key of that certificate, as PEM.
    #[arg(long, env = "METAHUB_ETCD_KEY_FILE", requires = "etcd_cert_file")]
    pub etcd_key_file: Option<PathBuf>,

    /// The etcd user to be.
    #[arg(long, env = "METAHUB_ETCD_USERNAME", requires = "etcd_password_file")]
    pub etcd_username: Option<String>,

    /// The file with the password of that user.
    #[arg(long, env = "METAHUB_ETCD_PASSWORD_FILE", requires = "etcd_username")]
    pub etcd_password_file: Option<PathBuf>,
}
