//! What `apply` and `diff` promise.

use super::*;

async fn apply(catalog: &Catalog, text: &str, prunes: bool) -> crate::Result<Outcome> {
    let mode = Mode::apply(prunes);
    catalog.declare(&admin(), parse(text), mode).await
}

fn keys(outcome: &Outcome) -> Vec<&str> {
    outcome.changes.iter().map(|it| it.key.as_str()).collect()
}

fn login(catalog: &Catalog, name: &str) -> Login {
    let policy = catalog.policy();
    policy.find::<Login>(&Key::login(name)).unwrap().clone()
}

#[tokio::test]
async fn what_a_file_does_not_name_stays() {
    let catalog = with_file().await;

    let outcome = apply(
        &catalog,
        "users: [{name: moby}]\nrules: [{name: r, requires: [avx]}]",
        false,
    );

    assert_eq!(keys(&outcome.await.unwrap()), ["user/moby", "rule/r"]);
    assert_eq!(catalog.policy().count(Kind::Login), 2);
}

#[tokio::test]
async fn pruning_deletes_what_is_declared_and_nothing_that_is_made_here() {
    let catalog = with_file().await;
    let now = std::time::SystemTime::now();
    catalog.rotate_signing_keys(now).await.unwrap();

    apply(&catalog, "users: [{name: moby}]", true)
        .await
        .unwrap();

    let policy = catalog.policy();
    let left: Vec<String> = declared(&policy)
        .iter()
        .map(|it| it.key().as_str().to_owned())
        .collect();
    assert_eq!(left, ["user/moby", "upstream/docker.io"]);
    assert_eq!(policy.count(Kind::SigningKey), 1);
}

#[tokio::test]
async fn secrets_that_a_file_does_not_give_stay() {
    let catalog = with_file().await;
    let before = declared(&catalog.policy());

    let text = FILE
        .replace("    password: hunter2\n", "")
        .replace("        secret: first\n", "");
    let outcome = apply(&catalog, &text, true).await.unwrap();

    assert_eq!(keys(&outcome), Vec::<&str>::new());
    assert_eq!(declared(&catalog.policy()), before);
}

#[tokio::test]
async fn a_new_login_gets_a_secret_that_is_told_once() {
    let catalog = with_file().await;
    let text = "users: [{name: qnib, types: [{name: type3}, {name: type4, without_login: true}]}]";

    let first = apply(&catalog, text, false).await.unwrap();
    let second = apply(&catalog, text, false).await.unwrap();

    assert_eq!(first.new_logins.len(), 1);
    let made = &first.new_logins[0];
    assert_eq!(made.name, "qnib-type3");
    let hash = crate::secrets::sha256_hex(&made.secret);
    assert_eq!(login(&catalog, "qnib-type3").secret_sha256, hash);
    assert_eq!(second.new_logins.len(), 0);
    assert_eq!(keys(&second), Vec::<&str>::new());
}

#[tokio::test]
async fn a_type_that_is_declared_without_a_login_loses_it() {
    let catalog = with_file().await;
    let text = "users: [{name: qnib, types: [{name: type1, features: ['cpu:broadwell'], without_login: true}]}]";

    let outcome = apply(&catalog, text, false).await.unwrap();

    assert_eq!(keys(&outcome), ["login/qnib-type1"]);
}

#[tokio::test]
async fn a_new_default_upstream_takes_that_from_the_one_before() {
    let catalog = with_file().await;
    let text = "upstreams: [{name: quay.io, url: 'https://quay.io', default: true}]";

    apply(&catalog, text, false).await.unwrap();

    let policy = catalog.policy();
    let defaults = policy.all::<Upstream>().filter(|it| it.is_default);
    let names: Vec<&str> = defaults.map(|it| &*it.name).collect();
    assert_eq!(names, ["quay.io"]);
}

#[tokio::test]
async fn an_account_keeps_its_password_at_its_address_only() {
    let catalog = with_file().await;
    let at = |url: &str, rest: &str| {
        format!("upstreams: [{{name: ghcr.io, url: '{url}', username: robot{rest}}}]")
    };
    let first = at("https://ghcr.io", ", password: hunter2");
    apply(&catalog, &first, false).await.unwrap();

    let kept = apply(&catalog, &at("https://ghcr.io", ""), false).await;
    let moved = apply(&catalog, &at("https://evil.example", ""), false).await;

    assert_eq!(keys(&kept.unwrap()), Vec::<&str>::new());
    let refused = moved.unwrap_err().to_string();
    assert!(refused.starts_with("upstreams[0].password: "), "{refused}");
}

#[tokio::test]
async fn a_diff_does_not_tell_whether_a_secret_is_right() {
    let catalog = with_file().await;
    let wrong = FILE.replace("hunter2", "wrong").replace("first", "wrong");
    let diff = |text: &str| catalog.preview(parse(text), Mode::diff(true));

    let right = diff(FILE).await.unwrap();
    let wrong_ones = diff(&wrong).await.unwrap();
    let dry_run = catalog.preview(parse(&wrong), Mode::apply(true)).await;

    assert_eq!(keys(&right), Vec::<&str>::new());
    assert_eq!(keys(&wrong_ones), Vec::<&str>::new());
    assert_eq!(keys(&dry_run.unwrap()), ["user/qnib", "login/qnib-type1"]);
}

#[tokio::test]
async fn a_preview_says_what_an_apply_does_and_changes_nothing() {
    let catalog = with_file().await;
    let before = catalog.revision();
    let text = "users: [{name: qnib, types: [{name: type1, features: ['cpu:zen4']}]}]";

    let preview = catalog.preview(parse(text), Mode::apply(false)).await;
    assert_eq!(catalog.revision(), before);
    let applied = apply(&catalog, text, false).await.unwrap();

    assert_eq!(preview.unwrap().changes, applied.changes);
    assert_eq!(applied.revision.number, before.number + 1);
}

#[tokio::test]
async fn what_was_agreed_to_is_not_applied_to_another_policy() {
    let catalog = with_file().await;
    let then = Some(catalog.revision());
    let apply = async |text| {
        let mode = Mode::apply(true).unchanged_since(then);
        catalog.declare(&admin(), parse(text), mode).await
    };
    let now = std::time::SystemTime::now();
    catalog.rotate_signing_keys(now).await.unwrap();

    apply("users: [{name: moby}]").await.unwrap();
    let refused = apply("users: [{name: other}]").await.unwrap_err();

    assert!(matches!(refused, crate::Error::Blocked { .. }), "{refused}");
}

#[tokio::test]
async fn an_error_names_the_feature_by_its_place() {
    let catalog = with_file().await;
    let text = "users: [{name: qnib, types: [{name: type1, features: [avx, 'nvcap:hopper']}]}]";

    let refused = apply(&catalog, text, false).await.unwrap_err().to_string();

    let place = "users[0].types[0].features[1]: ";
    assert!(refused.starts_with(place), "{refused}");
}

#[tokio::test]
async fn a_file_that_only_metahubctl_can_read_is_refused_here() {
    let catalog = with_file().await;
    let text = "users: [{name: qnib, types: [{name: type1, secret_file: /etc/passwd}]}]";

    let refused = apply(&catalog, text, false).await.unwrap_err().to_string();

    let place = "users[0].types[0].secret_file: ";
    assert!(refused.starts_with(place), "{refused}");
}
