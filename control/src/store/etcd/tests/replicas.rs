//! Several control planes over one etcd.

use std::time::{Duration, SystemTime};

use super::*;
use crate::Catalog;

#[tokio::test]
async fn control_planes_that_start_at_once_seed_the_store_once() {
    let server = Server::start();
    let now = SystemTime::now();

    let starts = (0..3).map(|_| async {
        let access = EtcdAccess::default();
        let store = Store::open(
            StoreLocation::Etcd(server.cluster()),
            &access,
            OnEmpty::Begin,
        );
        let catalog = Catalog::open(store.await.unwrap()).await.unwrap();
        catalog.rotate_signing_keys(now).await.unwrap();
        catalog.authority().await.unwrap();
        catalog
    });
    let catalogs = futures_util::future::join_all(starts).await;

    // The upstream, the signing key and the authority.
    assert_eq!(
        server.store().await.load().await.unwrap().revision.number,
        3
    );
    let later = now + Duration::from_secs(25 * 60 * 60);
    let rotations = catalogs.iter().map(|it| it.rotate_signing_keys(later));
    for rotated in futures_util::future::join_all(rotations).await {
        rotated.unwrap();
    }
    assert_eq!(
        count(&server.store().await, "/test/record/signing-key/").await,
        2
    );
}

#[tokio::test]
async fn replicas_hear_what_the_others_tell() {
    let server = Server::start();
    let (one, other) = (server.store().await, server.store().await);

    one.announce(vec![b"a".to_vec(), b"b".to_vec()])
        .await
        .unwrap();

    assert_eq!(other.announced().await.unwrap(), [b"a", b"b"]);
    one.announce(vec![b"c".to_vec()]).await.unwrap();
    assert_eq!(other.announced().await.unwrap(), [b"c"]);
    assert!(one.announced().await.unwrap().is_empty());
    let told = one.cluster.pages("/test/replica/", 0).await.unwrap();
    assert!(told.iter().all(|kv| kv.lease != 0));
}
