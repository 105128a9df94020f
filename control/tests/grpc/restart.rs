//! What a restart keeps.

use crate::plane::Plane;

#[tokio::test]
async fn a_restart_on_the_same_port_keeps_tokens_and_policy() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let token = plane.token("admin-token");
    let before = plane.catalog.revision();
    let (addr, dir) = plane.stop().await;

    let again = Plane::start_at(&addr, dir).await;

    assert_eq!(again.token("admin-token"), token);
    assert_eq!(again.catalog.revision(), before);
}

#[tokio::test]
async fn a_worker_that_outlives_a_restart_gets_only_what_it_missed() {
    let plane = Plane::start().await;
    plane.create_user("qnib").await;
    let held = plane.follow("w1", None).await.snapshot().await.revision;
    plane.create_type("qnib", "type1").await;
    let (addr, dir) = plane.stop().await;

    let again = Plane::start_at(&addr, dir).await;

    let (change, delta) = again.follow("w1", Some(held)).await.change().await;
    assert_eq!(change.base, Some(held));
    assert_eq!(delta.put.len(), 2);
}
