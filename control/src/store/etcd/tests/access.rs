//! Etcd that is not open to all.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

#[tokio::test]
async fn where_etcd_asks_for_a_user_one_is_needed() {
    let server = Server::start();
    server.store().await;
    server.ctl(&["user", "add", "root:hunter2"]).await;
    server.ctl(&["user", "grant-role", "root", "root"]).await;
    server.ctl(&["auth", "enable"]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let access = EtcdAccess {
        etcd_username: Some("root".into()),
        etcd_password_file: Some(file.path().into()),
        ..EtcdAccess::default()
    };

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
async fn etcd_with_tls_is_reached_with_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let [ca, cert, key] = ["ca", "cert", "key"].map(|it| dir.path().join(it));
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    std::fs::write(&ca, own.pem()).unwrap();
    std::fs::write(&cert, leaf.pem()).unwrap();
    std::fs::write(&key, leaf_key.serialize_pem()).unwrap();
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let server = Server::start_with(
        "https",
        &[
            flag("cert-file", &cert),
            flag("key-file", &key),
            flag("trusted-ca-file", &ca),
            "--client-cert-auth".into(),
        ],
    );
    let access = EtcdAccess {
        etcd_ca_file: Some(ca),
        etcd_cert_file: Some(cert),
        etcd_key_file: Some(key),
        ..EtcdAccess::default()
    };

    let without = Etcd::open(&server.cluster(), &EtcdAccess::default(), OnEmpty::Begin).await;
    let store = Etcd::open(&server.cluster(), &access, OnEmpty::Begin)
        .await
        .unwrap();

    assert!(matches!(without, Err(StoreError::Settings { .. })));
    assert!(store.commit(0, put(user("qnib"))).await.is_ok());
}
