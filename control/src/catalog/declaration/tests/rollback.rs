//! What a rollback promises.

use super::*;

const ONE_TYPE: &str = "users: [{name: qnib, types: [{name: type1, features: ['cpu:zen4']}]}]";

async fn apply(catalog: &Catalog, text: &str) {
    let mode = Mode::apply(false);
    let applied = catalog.declare(&admin(), parse(text), mode).await;
    applied.unwrap();
}

async fn roll_back(catalog: &Catalog, number: u64) -> Outcome {
    catalog.rollback(&admin(), number, None).await.unwrap()
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_that_says_what_the_old_one_said() {
    let catalog = with_file().await;
    let (then, number) = (declared(&catalog.policy()), catalog.revision().number);
    apply(&catalog, ONE_TYPE).await;
    apply(&catalog, "users: [{name: moby, types: [{name: t}]}]").await;
    apply(&catalog, "rules: [{name: almalinux-v3, requires: [avx]}]").await;

    let outcome = roll_back(&catalog, number).await;

    assert_eq!(outcome.revision.number, number + 4);
    assert_eq!(outcome.warnings, Vec::<String>::new());
    assert_eq!(declared(&catalog.policy()), then);
}

#[tokio::test]
async fn a_rollback_that_was_agreed_to_takes_back_nothing_that_came_later() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    apply(&catalog, ONE_TYPE).await;
    let agreed = Some(catalog.revision());
    apply(&catalog, "users: [{name: moby}]").await;

    let refused = catalog.rollback(&admin(), number, agreed).await;

    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("look again"), "{refused}");
    let agreed = Some(catalog.revision());
    let done = catalog.rollback(&admin(), number, agreed).await;
    assert!(done.is_ok(), "{done:?}");
}

#[tokio::test]
async fn a_rollback_can_be_rolled_back() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    apply(&catalog, ONE_TYPE).await;
    let then = declared(&catalog.policy());
    roll_back(&catalog, number).await;

    roll_back(&catalog, number + 1).await;

    assert_eq!(declared(&catalog.policy()), then);
}

#[tokio::test]
async fn a_revoked_login_does_not_come_back() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    catalog
        .delete_type(&admin(), "qnib", "type1")
        .await
        .unwrap();

    let outcome = roll_back(&catalog, number).await;

    let policy = catalog.policy();
    let type1 = policy.find::<MachineType>(&Key::machine_type("qnib", "type1"));
    assert!(type1.is_some());
    assert!(policy.find::<Login>(&Key::login("qnib-type1")).is_none());
    assert!(outcome.warnings[0].contains("qnib-type1"), "{outcome:?}");
}

#[tokio::test]
async fn a_secret_that_was_replaced_stays_replaced() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    catalog.rotate_login(&admin(), "qnib-type1").await.unwrap();
    let rotated = declared(&catalog.policy());

    let outcome = roll_back(&catalog, number).await;

    assert_eq!(outcome.changes, []);
    assert_eq!(declared(&catalog.policy()), rotated);
}

#[tokio::test]
async fn an_upstream_that_lost_its_account_comes_back_closed_and_says_what_to_give() {
    let catalog = with_file().await;
    apply(
        &catalog,
        "upstreams: [{name: ghcr.io, url: 'https://ghcr.io', username: robot, password: hunter2}]",
    )
    .await;
    let number = catalog.revision().number;
    catalog.delete_upstream(&admin(), "ghcr.io").await.unwrap();

    let outcome = roll_back(&catalog, number).await;

    let policy = catalog.policy();
    let upstream: &Upstream = policy.find(&Key::upstream("ghcr.io")).unwrap();
    assert!(upstream.account.is_none() && upstream.restricted);
    assert!(
        outcome.warnings[0].contains("--username robot"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_user_comes_back_without_a_password_and_that_is_said() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    catalog.delete_user(&admin(), "qnib").await.unwrap();

    let outcome = roll_back(&catalog, number).await;

    let policy = catalog.policy();
    let user: &User = policy.find(&Key::user("qnib")).unwrap();
    assert_eq!(user.password_hash, None);
    assert_eq!(outcome.warnings.len(), 3, "{outcome:?}");
}

#[tokio::test]
async fn a_preview_of_a_rollback_changes_nothing() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    apply(&catalog, ONE_TYPE).await;
    let before = catalog.revision();

    let preview = catalog.preview_rollback(number).await.unwrap();

    assert_eq!(preview.changes.len(), 1);
    assert_eq!(catalog.revision(), before);
}

#[tokio::test]
async fn what_the_audit_does_not_reach_is_refused() {
    let catalog = with_file().await;
    let number = catalog.revision().number;
    apply(&catalog, ONE_TYPE).await;
    catalog.store.sweep_audit(u64::MAX).await.unwrap();

    let too_old = catalog.rollback(&admin(), number, None).await.unwrap_err();
    let too_new = catalog.rollback(&admin(), 99, None).await.unwrap_err();

    assert!(too_old.to_string().contains("reaches back"), "{too_old}");
    assert!(too_new.to_string().starts_with("revision: "), "{too_new}");
}
