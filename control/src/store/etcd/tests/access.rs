//! Etcd that is not open to all.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use tempfile::NamedTempFile;

use super::*;

/// Switches users on, and returns how to be one, with the password's file.
async fn with_users(server: &Server) -> (EtcdAccess, NamedTempFile) {
    server.ctl(&["user", "add", "root:hunter2"]).await;
    server.ctl(&["user", "grant-role", "root", "root"]).await;
    server.ctl(&["auth", "enable"]).await;
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let access = EtcdAccess {
        etcd_username: Some("root".into()),
        etcd_password_file: Some(file.path().into()),
        ..EtcdAccess::default()
    };
    (access, file)
}

#[tokio::test]
async fn where_etcd_asks_for_a_user_one_is_needed() {
    let server = Server::start();
    server.store().await;
    let (access, _file) = with_users(&server).await;

    let refused = Etcd::open(&server.cluster(), &EtcdAccess::default(), OnEmpty::Begin).await;
    let store = Etcd::open(&server.cluster(), &access, OnEmpty::Begin)
        .await
        .unwrap();

    assert!(matches!(
        refused,
        Err(StoreError::Etcd(EtcdError::Refused { .. }))
    ));
    let (_, mut news) = store.watch().await.unwrap();
    store.commit(0, put(user("qnib"))).await.unwrap();
    assert_eq!(next_commit(&mut news).await.changes.len(), 1);
}

#[tokio::test]
async fn writes_go_on_while_etcd_has_its_users_switched_off_and_after_that() {
    let server = Server::start();
    server.store().await;
    let (access, file) = with_users(&server).await;
    let at = server.cluster();
    let store = Etcd::open(&at, &access, OnEmpty::Begin).await.unwrap();
    let root = ["--user", "root:hunter2"];

    server
        .ctl(&[&root[..], &["auth", "disable"]].concat())
        .await;
    store.commit(0, put(user("off"))).await.unwrap();
    // A new password, too.
    server.ctl(&["user", "delete", "root"]).await;
    server.ctl(&["user", "add", "root:hunter3"]).await;
    server.ctl(&["user", "grant-role", "root", "root"]).await;
    std::fs::write(file.path(), "hunter3\n").unwrap();
    server.ctl(&["auth", "enable"]).await;

    store.commit(1, put(user("on"))).await.unwrap();
}

/// A certificate for this host that its client and its server show.
struct Leaf {
    pem: String,
    key: String,
}

/// An authority and the files that etcd and its client share.
struct Certificates {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = authority.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca"), own.pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        Self { dir, issuer }
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        change(&mut params);
        Leaf {
            pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, leaf: &Leaf) {
        std::fs::write(self.path(name), &leaf.pem).unwrap();
        std::fs::write(self.path(&format!("{name}-key")), &leaf.key).unwrap();
    }

    fn server(&self) -> Server {
        self.write("server", &self.leaf(|_| {}));
        let flag = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let flags = [
            flag("cert-file", "server"),
            flag("key-file", "server-key"),
            flag("trusted-ca-file", "ca"),
            "--client-cert-auth".into(),
        ];
        Server::start_with("https", &flags)
    }

    /// With what is, or will be, in the client's files.
    fn access(&self) -> EtcdAccess {
        EtcdAccess {
            etcd_ca_file: Some(self.path("ca")),
            etcd_cert_file: Some(self.path("client")),
            etcd_key_file: Some(self.path("client-key")),
            ..EtcdAccess::default()
        }
    }
}

#[tokio::test]
async fn etcd_with_tls_is_reached_with_certificates() {
    let certificates = Certificates::new();
    certificates.write("client", &certificates.leaf(|_| {}));
    let server = certificates.server();
    let (at, access) = (server.cluster(), certificates.access());

    let without = Etcd::open(&at, &EtcdAccess::default(), OnEmpty::Begin).await;
    let store = Etcd::open(&at, &access, OnEmpty::Begin).await.unwrap();

    assert!(matches!(without, Err(StoreError::Settings { .. })));
    assert!(store.commit(0, put(user("qnib"))).await.is_ok());
}

#[tokio::test]
async fn a_renewed_client_certificate_is_taken_up_while_the_control_plane_runs() {
    let certificates = Certificates::new();
    let expired = |params: &mut CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    };
    certificates.write("client", &certificates.leaf(expired));
    let server = certificates.server();
    let at = server.cluster();
    let store = Etcd::connect(&at, &certificates.access()).unwrap();
    let refused = store.cluster.has_head().await.unwrap_err().to_string();
    assert!(
        refused.contains("refuses the client certificate"),
        "{refused}"
    );

    certificates.write("client", &certificates.leaf(|_| {}));

    assert!(!store.cluster.has_head().await.unwrap());
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_named() {
    let certificates = Certificates::new();
    let server = certificates.server();
    let access = EtcdAccess {
        etcd_ca_file: Some(certificates.path("ca")),
        ..EtcdAccess::default()
    };

    let at = server.cluster();
    let opened = Etcd::open(&at, &access, OnEmpty::Begin).await;
    let refused = opened.unwrap_err().to_string();

    assert!(refused.contains("--etcd-cert-file"), "{refused}");
}

#[test]
fn an_authority_file_without_a_certificate_is_named() {
    let certificates = Certificates::new();
    std::fs::write(certificates.path("ca"), "no certificate\n").unwrap();
    certificates.write("client", &certificates.leaf(|_| {}));
    let at = "etcd:https://127.0.0.1:1/a".parse().unwrap();
    let StoreLocation::Etcd(at) = at else {
        unreachable!("it is etcd");
    };

    let refused = Nodes::new(&at, &certificates.access()).err().unwrap();

    assert!(refused.to_string().contains("--etcd-ca-file"), "{refused}");
}
