//! Several MetaHubs in one etcd, and one that is gone from it.

use super::*;

fn below(server: &Server, prefix: &str) -> EtcdCluster {
    format!("{}{prefix}", server.url).parse().unwrap()
}

#[tokio::test]
async fn a_prefix_above_or_below_that_of_another_is_refused() {
    let server = Server::start();
    let access = EtcdAccess::default();
    let open = async |prefix| {
        let at = below(&server, prefix);
        Etcd::open(&at, &access, OnEmpty::Begin).await
    };
    let store = open("/hub/record").await.unwrap();
    store.commit(0, put(user("qnib"))).await.unwrap();

    for prefix in ["/hub", "/hub/record/record", "/hub/record/audit/a"] {
        let refused = open(prefix).await;
        let is_nested = matches!(refused, Err(StoreError::Etcd(EtcdError::Nested { .. })));
        assert!(is_nested, "{prefix}: {refused:?}");
    }

    assert!(open("/hub/records").await.is_ok());
    assert_eq!(store.load().await.unwrap().records.len(), 1);
}

#[tokio::test]
async fn what_was_deleted_under_a_control_plane_is_not_begun_anew() {
    let server = Server::start();
    let store = server.store().await;
    store.commit(0, put(user("qnib"))).await.unwrap();
    server.ctl(&["del", "--prefix", "/test/"]).await;

    let refused = store.commit(1, put(user("moby"))).await;

    assert!(matches!(
        refused,
        Err(StoreError::Etcd(EtcdError::Gone { .. }))
    ));
    let access = EtcdAccess::default();
    let opened = Etcd::open(&server.cluster(), &access, OnEmpty::Refuse).await;
    assert!(matches!(opened, Err(StoreError::Empty { .. })));
}
